"""Which training run a run folder belongs to, and at which step: from names, never from the times of files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath

STEP_WORDS = "checkpoint|ckpt|chkpt|global[-_]?step|step|iteration|iter|update|epoch"
SEED = "seed"
"""The factor that tells training runs apart that were to be alike."""
OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "adadelta", "adafactor", "rmsprop", "lion", "lamb", "muon", "sophia")
_ALIASES = {
    "wd": "weight_decay", "weightdecay": "weight_decay", "decay": "weight_decay", "lr": "learning_rate",
    "learningrate": "learning_rate", "opt": "optimizer", "optim": "optimizer", "optimiser": "optimizer",
    "bs": "batch_size", "batchsize": "batch_size",
}  # fmt: skip
_NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_STEP = re.compile(rf"(?:^|[^a-z])(?:{STEP_WORDS})[-_=]?(\d{{1,18}})(?![a-z\d.])", re.IGNORECASE)
_SEEN = re.compile(r"[-_.]?tokens?[-_=]?\d+(?:\.\d+)?[kmbt]?(?![a-z\d])", re.IGNORECASE)
"""How much had been read by then, which some names say beside the step."""
_LAST = re.compile(r"(?:^|[-_.@])(\d{1,18})$")
_GIVEN = re.compile(r"([a-z][a-z_]*?)[_]?=([^,;\s/=]+?)(?=$|[,;\s/]|[-_.][a-z_]+=)", re.IGNORECASE)
_WORDED = re.compile(
    rf"(?:^|[-_.,])(seed|weight[-_]?decay|wd|learning[-_]?rate|lr|batch[-_]?size|bs)[-_]?({_NUMBER})(?![a-z\d])",
    re.IGNORECASE,
)
_EDGES = "-_.@,/ "


@dataclass(frozen=True)
class Place:
    """Where a run stands in a study.

    Attributes:
        series: the training run; None where it cannot be told.
        step: of the checkpoint; None where it cannot be told.
        factors: what tells series apart, such as optimizer, seed, weight_decay.
    """

    series: str | None
    step: int | None
    factors: dict[str, str] = field(default_factory=dict)


def split_step(part: str) -> tuple[str, int] | None:
    """A name without its step, and the step; None where it has none.

    A step is a whole number behind a word such as `checkpoint` or `step`, or else one at the end of the name that
    belongs to no other word: `checkpoint-21`, `step1000`, `global_step500`, `run_x-300`; but neither `seed-0` nor
    `pythia-70m`. How many tokens had been read by then (`step1000-tokens4B`) is left out with it.
    """
    found = list(_STEP.finditer(part))
    if found:
        one = found[-1]
        word = re.search(rf"(?:{STEP_WORDS})[-_=]?\d+$", one[0], re.IGNORECASE)
        start = one.end() - len(word[0] if word else one[0])
        rest = part[:start].rstrip(_EDGES) + _SEEN.sub("", part[one.end() :], count=1)
        return rest.strip(_EDGES), int(one[1])
    last = _LAST.search(part)
    if last is None or any(one.end() == len(part) for one in (*_WORDED.finditer(part), *_GIVEN.finditer(part))):
        return None
    return part[: last.start()].strip(_EDGES), int(last[1])


def place_of(path: PurePath, model: str | None = None, revision: str | None = None) -> Place:
    """Series and step of a run folder.

    The last part of the path that names a step counts, which is the folder itself (`adamw-seed-0/checkpoint-21`:
    series `adamw-seed-0`); without one, the revision of the model that was scanned, then the last part of its name.

    Args:
        path: the run folder, resolved.
        model: the model as the run names it.
        revision: of the model, such as `step1000`.
    """
    series, step = None, None
    own = split_step(path.name)
    if own is not None:
        series, step = own[0] or path.parent.name, own[1]
    elif revision is not None and (told := split_step(revision)) is not None:
        series, step = PurePath(model or path.name).name, told[1]
    elif model is not None and (told := split_step(PurePath(model).name)) is not None:
        series, step = told[0] or PurePath(model).parent.name, told[1]
    return Place(series or None, step, factors_of(series or ""))


def factors_of(name: str) -> dict[str, str]:
    """What the words of a name say: optimisers by their names, `seed-0`, `wd0.1`, and all of the form `key=value`."""
    found: dict[str, str] = {}
    for part in PurePath(name).parts:
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in OPTIMIZERS:
                found["optimizer"] = word
        for key, value in (*_WORDED.findall(part), *_GIVEN.findall(part)):
            plain = key.lower().replace("-", "_")
            plain = _ALIASES.get(plain.replace("_", ""), plain)
            found[plain] = value
    return found
