"""The gate's result as JUnit XML, as the collectors of test results read it: one test case per token asked about."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from reach.gate.run import GateResult
from reach.runs.atomic import RUN_AGAIN, write_page
from reach.terminal import harmless

_CLASSES = {"must": "must be said", "never": "must not come out"}


def write_junit(file: Path, result: GateResult) -> None:
    """Write the file, in place of one that is there.

    Raises:
        BadInput: it cannot be written.
    """
    line_of = {token: finding.line(result.vocabulary) for finding in result.findings for token in finding.tokens}
    suite = ElementTree.Element(
        "testsuite", name="reach check", tests=str(len(result.judged)), failures=str(len(line_of)),
        time=f"{result.seconds:.3f}",
    )  # fmt: skip
    for one in result.judged:
        token = one.asked.token
        name = harmless(result.vocabulary.show(token))
        kind = f"{harmless(result.model)}: {_CLASSES[one.asked.side]}"
        case = ElementTree.SubElement(suite, "testcase", classname=kind, name=name)
        if token in line_of:
            failure = ElementTree.SubElement(case, "failure", type=str(one.kind), message=harmless(line_of[token]))
            failure.text = harmless(line_of[token])
    text = ElementTree.tostring(suite, encoding="unicode", xml_declaration=False)
    write_page(file, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', force=True, again=RUN_AGAIN)
