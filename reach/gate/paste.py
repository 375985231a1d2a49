"""How to keep tokens from coming out, ready to be pasted into what serves a model."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from reach.bounded import is_there
from reach.gate.run import GateResult
from reach.runs.atomic import RUN_AGAIN, write_page, writing_to
from solvers.errors import BadInput

GENERATION_FILE, BIAS_FILE, PROCESSOR_FILE = "generation_config_entries.json", "logit_bias.json", "mask_tokens.py"
WORKFLOW_FILE = "reach-check.yml"
FILES = (GENERATION_FILE, BIAS_FILE, PROCESSOR_FILE, WORKFLOW_FILE)
BIAS = -100
"""The strongest bias that servers of the OpenAI API take."""

_PROCESSOR = Template('''"""Keeps tokens from being generated. Written by `reach check $model`.

    model.generate(**inputs, logits_processor=[MaskTokens()])
"""

import torch
from transformers import LogitsProcessor

TOKENS = $tokens


class MaskTokens(LogitsProcessor):
    """Sets the logits of some tokens to -inf.

    Args:
        tokens: their ids.
    """

    def __init__(self, tokens=TOKENS):
        self.tokens = torch.tensor(tokens, dtype=torch.long)

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, self.tokens.to(scores.device)] = -torch.inf
        return scores
''')
_WORKFLOW = Template("""# Fails where a token that must be said cannot be, or one can come out that must not.
# Its place: .github/workflows/reach-check.yml
# The repository's variable TOKEN_REACHABILITY says where pip finds this program: git+https://… or a path.
name: reach check
on: [push, pull_request]
jobs:
  check:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with:
          lfs: true
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install "$${{ vars.TOKEN_REACHABILITY }}"
      - run: reach check . --margin $margin --junit reach-check.xml
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: reach-check
          path: reach-check.xml
""")


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a place where the files cannot be written, or are there already.

    Raises:
        BadInput: it is a file, or holds one of the files and `force` is off.
    """
    if is_there(folder) and not folder.is_dir():
        raise BadInput(f"{folder}: is a file; --paste takes a folder")
    there = [name for name in FILES if is_there(folder / name)]
    if there and not force:
        raise BadInput(f"{folder / there[0]}: exists already; pass --force to write it again")


def write_paste(folder: Path, result: GateResult, *, force: bool = False) -> Path:
    """Write the files: entries for generation_config.json, logit biases, a logits processor and a workflow.

    Returns:
        The folder.

    Raises:
        BadInput: see `check_folder`; or a file cannot be written.
    """
    check_folder(folder, force=force)
    with writing_to(folder, again=RUN_AGAIN):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in paste_files(result).items():
        write_page(folder / name, text, force=True, again=RUN_AGAIN)
    return folder


def paste_files(result: GateResult) -> dict[str, str]:
    """The files by their names."""
    mask = result.mask
    entries = {"bad_words_ids": [[token] for token in mask], "suppress_tokens": mask} if mask else {}
    model = "".join(character for character in result.model if character.isalnum() or character in "-_./ ")
    return {
        GENERATION_FILE: json.dumps(entries) + "\n",
        BIAS_FILE: json.dumps({"logit_bias": {str(token): BIAS for token in mask}}) + "\n",
        PROCESSOR_FILE: _PROCESSOR.substitute(model=model, tokens=json.dumps(mask)),
        WORKFLOW_FILE: _WORKFLOW.substitute(margin=f"{result.settings.margin:g}"),
    }
