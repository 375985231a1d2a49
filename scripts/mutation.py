"""Mutation run: change the checkers in one place at a time, and see whether a test notices.

    python scripts/mutation.py                     # all of solvers/checks/, reach/verify.py and the judge
    python scripts/mutation.py solvers/checks/hull.py
    python scripts/mutation.py --survivors         # again those that survived the last time unexplained
    python scripts/mutation.py --report            # only write docs/mutation.md from what is known

Tests are imported and collected once; each mutant is a fork of that process with one function's code exchanged, and
runs the tests that reach the changed line, quickest first, until one fails. Results are kept in build/mutation.json:
a function that has not changed is not run again. A survivor must be explained in scripts/mutation_explained.toml, or
the command ends with exit code 1.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork must not meet the threads of its parent
os.environ.setdefault("HYPOTHESIS_PROFILE", "mutation")
os.environ.setdefault("FUZZ_TIMES", "0.1")

import argparse
import ast
import copy
import hashlib
import importlib
import json
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKS = (
    "hull", "witness", "own_rows", "own_products", "exact", "interior", "domains", "numbers", "equal_rows",
    "evidence", "streamed", "served_head", "served_points", "served_weights", "served_orders",
)  # fmt: skip
TARGETS = [f"solvers/checks/{name}.py" for name in CHECKS]
TARGETS += ["reach/verify.py", "reach/few_blockers_check.py", "reach/scanning/judge.py"]
TESTS = ["tests/solvers", "tests/fuzz", "tests/reach"]
KEPT = (
    "test_checks_",
    "test_rounding_",
    "test_fuzz_",
    "test_tampering",
    "test_verify_about",
    "test_edges",
    "test_extreme",
    "test_nearly_never",
)
"""Which test files of these are run: the others reach the targets by way of whole commands, and say no more."""
FIRST = {"reach/verify.py": "tests/reach/test_checks_verify.py"}
"""Tests that come first for a file. What their module sets up is set up once, before any mutant."""
EXAMPLES = 12
"""Examples of a property test for one mutant."""
STORE, REACHED = ROOT / "build/mutation.json", ROOT / "build/mutation_reached.json"
EXPLAINED = ROOT / "scripts/mutation_explained.toml"
PAGE = ROOT / "docs/mutation.md"


# --- mutants -------------------------------------------------------------------------------------------------------

SWAPPED_OPERATORS: dict[type, list[type]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}
SWAPPED_COMPARISONS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
SWAPPED_NAMES = {"min": "max", "any": "all", "maximum": "minimum", "amax": "amin", "argmax": "argmin"}
SWAPPED_NAMES |= {new: old for old, new in SWAPPED_NAMES.items()}
DROPPED_CALLS = {"abs", "clamp", "clone", "nan_to_num", "isfinite", "sqrt"}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what, and the code that takes the place of the function's (or constant's) own."""

    file: str
    function: str
    line: int
    change: str
    number: int
    digest: str
    node: ast.Module

    @property
    def key(self) -> str:
        """What identifies it as long as its function stays as it is."""
        return f"{self.file}:{self.function}: {self.change} #{self.number}"


def mutants_of(file: str) -> Iterator[Mutant]:
    """All mutants of a file, function by function."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for path, name in _functions(tree):
        original = _at(tree, path)
        digest = hashlib.sha256(ast.dump(original).encode()).hexdigest()[:16]
        seen: Counter[str] = Counter()
        for inner in _mutable(original):
            for new in _variants(_at(original, inner)):
                changed = copy.deepcopy(tree)
                _put(changed, path + inner, new)
                old = _at(original, inner)
                change = f"`{_text(old)}` → `{_text(new)}`"
                seen[change] += 1
                yield Mutant(file, name, getattr(old, "lineno", 0), change, seen[change], digest, changed)


Path_ = tuple[tuple[str, int | None], ...]


def _functions(tree: ast.Module) -> Iterator[tuple[Path_, str]]:
    for i, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef):
            yield (("body", i),), node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield (("body", i),), node.targets[0].id
        elif isinstance(node, ast.ClassDef):
            for k, inner in enumerate(node.body):
                if isinstance(inner, ast.FunctionDef):
                    yield (("body", i), ("body", k)), f"{node.name}.{inner.name}"


def _mutable(node: ast.AST, path: Path_ = ()) -> Iterator[Path_]:
    """Paths of the nodes that may be changed: no annotations, docstrings, messages or decorators."""
    for name, value in ast.iter_fields(node):
        if name in {"args", "returns", "decorator_list", "annotation", "exc"} and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.expr_context):
                continue
            here = (*path, (name, index))
            yield here
            yield from _mutable(child, here)


def _at(node: Any, path: Path_) -> Any:
    for name, index in path:
        node = getattr(node, name)
        node = node if index is None else node[index]
    return node


def _put(tree: ast.AST, path: Path_, new: ast.AST) -> None:
    holder, (name, index) = _at(tree, path[:-1]), path[-1]
    new = ast.copy_location(copy.deepcopy(new), _at(tree, path))
    if index is None:
        setattr(holder, name, new)
    else:
        getattr(holder, name)[index] = new
    ast.fix_missing_locations(tree)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {_text(node.test)}: …"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-25:]}"


def _variants(node: Any) -> list[ast.AST]:
    """What a node may be changed into."""
    match node:
        case ast.BinOp(left=left, right=right, op=op):
            if any(isinstance(side, ast.JoinedStr | ast.Constant) and not _number(side) for side in (left, right)):
                return []
            swapped = [ast.BinOp(left, kind(), right) for kind in SWAPPED_OPERATORS.get(type(op), [])]
            kept = [left] if isinstance(op, ast.Pow | ast.Sub | ast.Div) else [left, right]
            return swapped + ([] if isinstance(op, ast.MatMult) else kept)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return [ast.Compare(left, [kind()], [right]) for kind in SWAPPED_COMPARISONS[type(op)]]
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            fewer = [values[:i] + values[i + 1 :] for i in range(len(values))]
            dropped = [some[0] if len(some) == 1 else ast.BoolOp(op, some) for some in fewer]
            return [ast.BoolOp(other, values), *dropped]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Constant(value=bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() as value):
            return [ast.Constant(value - 1 if value > 0 else 1)]
        case ast.Constant(value=float() as value):
            return [ast.Constant(value * 1000), ast.Constant(0.0)] if value else [ast.Constant(1.0)]
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.If(body=body, orelse=orelse):
            return [ast.If(ast.Constant(value), body, orelse) for value in (True, False)]
        case ast.Call(func=func, args=args):
            return _call_variants(node, func, args)
        case ast.AugAssign(target=target, value=value, op=op):
            store = copy.deepcopy(target)
            swapped = [ast.AugAssign(target, kind(), value) for kind in SWAPPED_OPERATORS.get(type(op), [])]
            return [ast.Pass(), ast.Assign([store], value, lineno=node.lineno), *swapped]
        case ast.Expr(value=ast.Call()) | ast.Continue() | ast.Raise():
            return [ast.Pass()]
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            return [ast.Pass()]
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            return [ast.Return(ast.Constant(None))]
        case _:
            return []


def _call_variants(node: ast.Call, func: ast.expr, args: list[ast.expr]) -> list[ast.AST]:
    name = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
    found: list[ast.AST] = []
    if name in SWAPPED_NAMES:
        new = copy.deepcopy(node)
        if isinstance(new.func, ast.Name):
            new.func.id = SWAPPED_NAMES[name]
        elif isinstance(new.func, ast.Attribute):
            new.func.attr = SWAPPED_NAMES[name]
        found.append(new)
    if name in DROPPED_CALLS:
        module = isinstance(func, ast.Name) or (
            isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in {"np", "torch"}
        )
        found.append(args[0] if module and args else func.value)  # type: ignore[attr-defined]
    if name == "where" and len(args) == 3:
        found += args[1:]
    return found


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


# --- running -------------------------------------------------------------------------------------------------------


@dataclass
class Runner:
    """A pytest plugin in whose test loop every mutant is run."""

    files: list[str]
    known: dict[str, dict[str, Any]]
    again: bool
    jobs: int
    most: float
    tests: list[str]
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own loop over the tests."""
        self.session = session
        self.items = {item.nodeid: item for item in session.items if any(name in item.nodeid for name in self.tests)}
        for item in self.items.values():
            _fewer_examples(item)
        self.reached, self.seconds = self._coverage()
        say(f"{len(self.seconds)} tests reach the targets, {sum(self.seconds.values()):.0f} s in all")
        for file in self.files:
            self._run_file(file)
        return True

    def _run_file(self, file: str) -> None:
        mutants = list(mutants_of(file))
        explained = explanations(self.known)
        todo, running = [], {}
        for mutant in mutants:
            old = self.known.get(mutant.key)
            unchanged = old is not None and old["digest"] == mutant.digest
            if unchanged and not (self.again and old["status"] == "survived" and mutant.key not in explained):
                self.results[mutant.key] = old
            else:
                todo.append(mutant)
        say(f"{file}: {len(mutants)} mutants, {len(todo)} to run")
        self._set_up(file)
        began = time.monotonic()
        for number, mutant in enumerate(todo):
            tests = self._tests_for(mutant)
            if not tests:
                self._note(mutant, "survived", "no test reaches it")
                continue
            while len(running) >= self.jobs:
                self._reap(running)
            running[self._start(mutant, tests)] = (mutant, tests, time.monotonic())
            if number % 50 == 49:
                say(f"  {number + 1}/{len(todo)} in {time.monotonic() - began:.0f} s")
                self._save()
        while running:
            self._reap(running)
        self.session._setupstate.teardown_exact(None)
        self._save()
        say(f"  {Counter(r['status'] for k, r in self.results.items() if r['file'] == file)}")

    def _set_up(self, file: str) -> None:
        first = [item for test, item in self.items.items() if test.startswith(FIRST.get(file, "-"))]
        if len(first) > 1 and _fails(first[0], first[1]):
            raise RuntimeError(f"{first[0].nodeid} fails without any mutant")

    def _tests_for(self, mutant: Mutant) -> list[str]:
        """Tests that reach the line (or, for a constant, the file): the quickest, up to some seconds together.

        Module by module, so that what a module sets up is set up once.
        """
        lines = {mutant.line}
        if mutant.function.isupper():
            lines = {line for file, line in self.reached if file == mutant.file}
        tests = {test for line in lines for test in self.reached.get((mutant.file, line), ())}
        # Tests of whole runs set up runs first: they are for what is tested nowhere else.
        far = {test for test in tests if "/reach/" in test or "test_fuzz_scan" in test or "test_fuzz_edits" in test}
        tests = tests - far if tests - far and mutant.file.startswith("solvers/") else tests
        chosen, spent = [], 0.0
        for test in sorted(tests, key=self.seconds.__getitem__):
            spent += self.seconds[test]
            if chosen and spent > self.most:
                break
            chosen.append(test)
        cost: Counter[str] = Counter()
        for test in chosen:
            cost[test.split("::")[0]] += self.seconds[test]  # type: ignore[assignment]
        first = FIRST.get(mutant.file)
        cost = Counter({module: -1.0 if module == first else spent for module, spent in cost.items()})  # type: ignore[misc]
        return sorted(chosen, key=lambda test: (cost[test.split("::")[0]], test.split("::")[0], self.seconds[test]))

    def _start(self, mutant: Mutant, tests: list[str]) -> tuple[int, int]:
        out, into = os.pipe()
        child = os.fork()
        if child:
            os.close(into)
            return child, out
        killer = "broken"
        try:
            _silence()
            _exchange(mutant)
            killer = self._first_failure(tests) or ""
        except BaseException as error:
            killer = f"broken: {error!r}"
        os.write(into, killer.encode()[:60000])
        os._exit(0)

    def _first_failure(self, tests: list[str]) -> str | None:
        if self.items[tests[0]].getparent(pytest.Module) not in self.session._setupstate.stack:
            self.session._setupstate.teardown_exact(None)
        for this, following in zip(tests, [*tests[1:], None], strict=True):
            item = self.items[this]
            following_item = None if following is None else self.items[following]
            if _fails(item, following_item):
                return this
        return None

    def _reap(self, running: dict[tuple[int, int], tuple[Mutant, list[str], float]]) -> None:
        """Wait until one of the children has ended, or has run for far too long."""
        while True:
            for (child, out), (mutant, tests, began) in running.items():
                ended, _ = os.waitpid(child, os.WNOHANG)
                late = time.monotonic() - began > 30 + 5 * sum(self.seconds[test] for test in tests)
                if not ended and not late:
                    continue
                if late and not ended:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                with os.fdopen(out, "rb") as stream:
                    killer = stream.read().decode(errors="replace")
                if not ended:
                    self._note(mutant, "killed", "out of time")
                else:
                    self._note(mutant, "killed" if killer else "survived", killer or f"{len(tests)} tests")
                del running[child, out]
                return
            time.sleep(0.005)

    def _note(self, mutant: Mutant, status: str, by: str) -> None:
        record = {"file": mutant.file, "function": mutant.function, "line": mutant.line, "change": mutant.change}
        self.results[mutant.key] = record | {"digest": mutant.digest, "status": status, "by": by}
        if status == "survived":
            say(f"    survived: {mutant.file}:{mutant.line} {mutant.function}: {mutant.change} ({by})")

    def _save(self) -> None:
        kept = {key: record for key, record in self.known.items() if record["file"] not in self.files}
        STORE.parent.mkdir(exist_ok=True)
        done = {record["file"] for record in self.results.values()}
        kept |= {key: record for key, record in self.known.items() if record["file"] not in done}
        STORE.write_text(json.dumps(kept | self.results, indent=1, ensure_ascii=False), encoding="utf-8")

    def _coverage(self) -> tuple[dict[tuple[str, int], set[str]], dict[str, float]]:
        """Which tests reach which line, and how long each takes: one run of all, in a fork, traced.

        Kept per test file, and looked up again where neither it nor a target has changed.
        """
        cache = json.loads(REACHED.read_text(encoding="utf-8")) if REACHED.exists() else {}
        sources = b"".join((ROOT / file).read_bytes() for file in TARGETS)
        keys = {
            test: hashlib.sha256(sources + item.path.read_bytes()).hexdigest() for test, item in self.items.items()
        }
        fresh = [item for test, item in self.items.items() if cache.get(test, {}).get("key") != keys[test]]
        say(f"{len(self.items)} tests; looking which lines {len(fresh)} of them reach")
        found = {test: cache[test] for test in self.items if cache.get(test, {}).get("key") == keys[test]}
        for test, record in self._in_forks(fresh).items():
            found[test] = {"key": keys[test], **record}
        REACHED.parent.mkdir(exist_ok=True)
        REACHED.write_text(json.dumps(found), encoding="utf-8")
        reached: dict[tuple[str, int], set[str]] = {}
        seconds = {}
        for test, record in found.items():
            if record["failed"]:
                say(f"left out, since it fails without any mutant: {test}")
            elif record["lines"]:
                seconds[test] = record["seconds"]
                for file, line in record["lines"]:
                    reached.setdefault((file, line), set()).add(test)
        return reached, seconds

    def _in_forks(self, items: list[pytest.Item]) -> dict[str, dict[str, Any]]:
        """Each of a few processes traces its share of the tests."""
        found: dict[str, dict[str, Any]] = {}
        share = -(-len(items) // max(1, self.jobs))
        streams = []
        for start in range(0, len(items), share or 1):
            out, into = os.pipe()
            child = os.fork()
            if not child:
                os.close(out)
                _silence()
                with os.fdopen(into, "w") as stream:
                    json.dump(self._traced(items[start : start + share]), stream)
                os._exit(0)
            os.close(into)
            streams.append((child, out))
        for child, out in streams:
            with os.fdopen(out) as stream:
                found |= json.load(stream)
            os.waitpid(child, 0)
        return found

    def _traced(self, items: list[pytest.Item]) -> dict[str, dict[str, Any]]:
        targets = {str(ROOT / file): file for file in TARGETS}
        spans = _spans()
        found = {}
        seen: set[tuple[str, int]] = set()

        def local(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                seen.add((targets[frame.f_code.co_filename], frame.f_lineno))
            return local

        def trace(frame: FrameType, *_: Any) -> Any:
            return local if frame.f_code.co_filename in targets else None

        for item, following in zip(items, [*items[1:], None], strict=True):
            seen.clear()
            began = time.monotonic()
            sys.settrace(trace)
            failed = _fails(item, following)
            sys.settrace(None)
            lines = sorted({(file, more) for file, line in seen for more in spans.get((file, line), {line})})
            found[item.nodeid] = {"lines": lines, "seconds": time.monotonic() - began, "failed": failed}
        return found


def _spans() -> dict[tuple[str, int], set[int]]:
    """The lines of the statement that a line belongs to: one over several lines is reached as a whole."""
    spans: dict[tuple[str, int], set[int]] = {}
    for file in TARGETS:
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.stmt) and not hasattr(node, "body"):
                own = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            elif isinstance(node, ast.If | ast.For | ast.While):
                own = set(range(node.lineno, node.body[0].lineno))
            else:
                continue
            for line in own:
                spans[file, line] = own
    return spans


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    from _pytest.runner import runtestprotocol

    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _fewer_examples(item: pytest.Item) -> None:
    test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
    given = getattr(test, "_hypothesis_internal_use_settings", None)
    if given is not None and given.max_examples > EXAMPLES:
        from hypothesis import settings

        test._hypothesis_internal_use_settings = settings(given, max_examples=EXAMPLES)


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _exchange(mutant: Mutant) -> None:
    """Put the changed code in the place of the function's own, wherever it has been imported."""
    module = importlib.import_module(mutant.file.removesuffix(".py").replace("/", "."))
    code = compile(mutant.node, module.__file__ or mutant.file, "exec", dont_inherit=True)
    owner: Any = module
    *classes, name = mutant.function.split(".")
    for part in classes:
        owner, code = getattr(owner, part), _inner(code, part)
    target = vars(owner)[name]
    if isinstance(target, property | cached_property):
        target = target.fget if isinstance(target, property) else target.func
    target = getattr(target, "__func__", target)
    if hasattr(target, "__code__"):
        target.__code__ = _inner(code, name)
        return
    fresh = dict(vars(module))  # a constant: run the changed module, and take its value everywhere
    exec(code, fresh)
    for other in list(sys.modules.values()):
        if getattr(other, name, None) is target:
            setattr(other, name, fresh[name])


def _inner(code: CodeType, name: str) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name)


def say(text: str) -> None:
    sys.__stderr__.write(text + "\n")
    sys.__stderr__.flush()


# --- the page ------------------------------------------------------------------------------------------------------


def explanations(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Why survivors may survive: key to reason. A group names a file, functions, and changes (or how they begin)."""
    if not EXPLAINED.exists():
        return {}
    found = {}
    for group in tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("group", []):
        for key, record in records.items():
            here = record["file"] == group["file"] and record["function"] in group["functions"]
            if here and any(_matches(record["change"], change) for change in group["changes"]):
                found.setdefault(key, group["reason"])
    return found


def _matches(change: str, wanted: str) -> bool:
    return change.startswith(wanted.removesuffix("*")) if wanted.endswith("*") else change == wanted


def write_page(records: dict[str, dict[str, Any]]) -> list[str]:
    """Write docs/mutation.md; returns the survivors that are not explained."""
    reasons = explanations(records)
    survivors = {key: record for key, record in records.items() if record["status"] == "survived"}
    rows = []
    for file in TARGETS:
        mine = [record for record in records.values() if record["file"] == file]
        killed = sum(record["status"] == "killed" for record in mine)
        explained = sum(key in reasons for key, record in survivors.items() if record["file"] == file)
        left = len(mine) - killed - explained
        rows.append(f"| `{file}` | {len(mine)} | {killed} | {explained} | {left} |")
    sections = []
    for reason in dict.fromkeys(reasons[key] for key in survivors if key in reasons):
        mine = [record for key, record in survivors.items() if reasons.get(key) == reason]
        lines = [f"- `{record['file']}`, `{record['function']}`: {record['change']}" for record in mine]
        sections.append("\n".join([f"### {reason}", "", *lines, ""]))
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "<!-- table -->\n<!-- end -->\n"
    table = "\n".join(
        ["| file | mutants | killed | equivalent | unexplained |", "| --- | ---: | ---: | ---: | ---: |", *rows]
    )
    head = text.split("<!-- table -->")[0]
    PAGE.write_text(
        f"{head}<!-- table -->\n\n{table}\n\n## Survivors, and why each is equivalent\n\n" + "\n".join(sections),
        encoding="utf-8",
    )
    return [key for key in survivors if key not in reasons]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", help="files to mutate; all targets without")
    parser.add_argument(
        "--survivors", action="store_true", help="run those again that survived the last time and are not explained"
    )
    parser.add_argument("--report", action="store_true", help="write the page from what is known, run nothing")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="what the tests of one mutant may take together, with tracing"
    )
    parser.add_argument("--tests", nargs="+", default=list(KEPT), help="parts of the names of the tests to run")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    arguments = parser.parse_args()
    known = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    if not arguments.report:
        os.chdir(ROOT)
        sys.path.insert(0, str(ROOT))
        runner = Runner(
            arguments.files or TARGETS, known, arguments.survivors, arguments.jobs, arguments.seconds, arguments.tests
        )
        options = ["-q", "-s", "-o", "addopts=", "-p", "no:cacheprovider", "--no-header"]
        ended = pytest.main([*options, *TESTS], plugins=[runner])
        if ended not in (0, 5):
            return int(ended)
        known = json.loads(STORE.read_text(encoding="utf-8"))
    left = write_page(known)
    for key in left:
        say(f"not explained: {key}")
    killed = sum(record["status"] == "killed" for record in known.values())
    say(f"{len(known)} mutants, {killed} killed, {len(left)} unexplained")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
