"""The roles that a model's files give its tokens, and what is wrong with such files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reach.categories import rendering
from reach.categories.roles import Roles, read_roles

CHATML = (
    "{% if tools %}<|im_start|>system\n<tools>{{ tools | tojson }}</tools><|im_end|>\n{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{% if never %}<tool_response>{% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}{{ raise_exception('no system here') }}"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
CHANNELS = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}"
    "{% generation %}<|channel|>final<|message|>{{ m.content }}<|return|>{% endgeneration %}"
    "{% else %}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
PIECES = ["<s>", "</s>", "<unk>", "a", "b", "\n"]


def save(folder: Path, *added: str, plain: tuple[str, ...] = (), **files: Any) -> Path:
    """A model folder with the pieces above, more special tokens, and files by their names."""
    folder.mkdir(exist_ok=True)
    entries = [
        {"id": len(PIECES) + at, "content": text, "special": text in added}
        for at, text in enumerate((*added, *plain))
    ]
    vocabulary = {piece: at for at, piece in enumerate(PIECES)}
    whole = {"version": "1.0", "added_tokens": entries, "model": {"type": "WordLevel", "vocab": vocabulary}}
    contents = {"tokenizer.json": whole} | {name.replace("__", "."): content for name, content in files.items()}
    for name, content in contents.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def roles_of(folder: Path, rows: int = 40) -> Roles:
    return read_roles(folder, [*PIECES, *[None] * (rows - len(PIECES))], rows)


def names(roles: Roles, token: int) -> set[str]:
    return {role.name for role in roles.of(token)}


def test_settings_name_ids_and_lists_of_them(tmp_path: Path) -> None:
    folder = save(
        tmp_path,
        generation_config__json={"eos_token_id": [1, 7], "pad_token_id": -1, "bad_words_ids": [[3], [4, 5]],
                                 "suppress_tokens": [4], "forced_decoder_ids": [[1, 9]]},
        config__json={"bos_token_id": 0, "text_config": {"eos_token_id": 8, "decoder_start_token_id": 2}},
    )  # fmt: skip
    roles = roles_of(folder)
    assert roles.of(1)[0] == (1, "eos", "generation_config.json: eos_token_id")
    assert roles.of(8) == ((8, "eos", "config.json: text_config.eos_token_id"),)
    assert names(roles, 7) == {"eos"}
    assert names(roles, 0) == {"bos"}
    assert names(roles, 2) == {"decoder start"}
    assert names(roles, 3) == names(roles, 4) == {"suppressed"}
    assert names(roles, 5) == set()
    assert names(roles, 9) == {"forced"}
    assert roles.absent == ()
    assert roles.warnings == ()
    assert list(roles.named("eos")) == [1, 7, 8]


def test_tokenizer_files_name_tokens_by_their_text(tmp_path: Path) -> None:
    folder = save(
        tmp_path, "<|x|>", plain=("word",),
        tokenizer_config__json={"eos_token": {"content": "</s>"}, "pad_token": "<|x|>", "unk_token": "none such"},
        special_tokens_map__json={"bos_token": "<s>", "additional_special_tokens": ["<|x|>", "b"], "mask_token": 4},
    )  # fmt: skip
    roles = roles_of(folder)
    assert names(roles, 1) == {"eos", "special"}
    assert names(roles, 6) == {"pad", "special"}
    assert names(roles, 7) == {"added"}
    assert names(roles, 0) == {"bos", "special"}
    assert names(roles, 4) == {"special"}
    assert names(roles, 3) == set()
    assert [warning.split(": ", 1)[1] for warning in roles.warnings] == [
        "unk_token is 'none such', which is no token",
        "mask_token is 4, but must be a token's text",
    ]


def test_what_the_assistant_says_is_told_from_the_prompt(tmp_path: Path) -> None:
    markers = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>")
    roles = roles_of(save(tmp_path, *markers[:2], plain=markers[2:], chat_template__jinja=CHATML))
    assert [names(roles, 6 + at) - {"special", "added"} for at in range(7)] == [
        {"prompt marker"}, {"end of turn"}, {"assistant marker"}, {"assistant marker"}, {"tool call"}, {"tool call"},
        {"template marker"},
    ]  # fmt: skip
    assert roles.of(7)[0].where == "chat_template.jinja"
    assert roles.warnings == ()


def test_templates_in_the_settings_and_those_without_a_system_turn(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": [{"name": "default", "template": BRACKETS}]}
    roles = roles_of(save(tmp_path, "[INST]", "[/INST]", tokenizer_config__json=config))
    assert names(roles, 1) == {"eos", "special", "end of turn"}
    assert names(roles, 0) == {"bos", "special", "prompt marker"}
    assert names(roles, 6) == names(roles, 7) == {"special", "prompt marker"}
    assert any(role.where == "tokenizer_config.json: chat_template 'default'" for role in roles.of(1))
    assert roles.warnings == ()


def test_markers_between_the_prompt_and_the_words_are_the_assistants(tmp_path: Path) -> None:
    markers = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")
    roles = roles_of(save(tmp_path, *markers, chat_template__jinja=CHANNELS))
    found = [names(roles, 6 + at) - {"special"} for at in range(5)]
    assert found == [
        {"prompt marker"},
        {"prompt marker"},
        {"assistant marker"},
        {"assistant marker"},
        {"end of turn"},
    ]


def test_a_marker_that_begins_like_another_is_taken_whole(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}{% if m.tool_calls %}_tool{% endif %}|>{{ m.content }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    markers = ("<|user|>", "<|assistant|>", "<|assistant_tool|>", "<|end|>")
    roles = roles_of(save(tmp_path, *markers, plain=("\n", "<|end"), chat_template__jinja=template))
    found = [names(roles, 6 + at) - {"special"} for at in range(6)]
    assert found == [{"prompt marker"}, {"prompt marker"}, {"tool call"}, {"end of turn"}, {"added"}, {"added"}]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% if %}<|a|>", "does not render (TemplateSyntaxError: "),
        ("{{ raise_exception('not today') }}<|a|>", "does not render (TemplateError: not today)"),
        ("{{ messages.__class__.mro() }}<|a|>", "does not render (SecurityError: "),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxx<|a|>{% endfor %}{% endfor %}",
            "no end",
        ),
        ("{{ 'x' * 99999999999 }}<|a|>", "does not render (MemoryError: )"),
        ("<|a|> hello", "leaves out what is said"),
    ],
)
def test_a_template_that_cannot_be_used_leaves_its_literal_markers(tmp_path: Path, template: str, said: str) -> None:
    roles = roles_of(save(tmp_path, "<|a|>", chat_template__jinja=template))
    assert names(roles, 6) - {"special"} <= {"template marker", "prompt marker"}
    assert len(names(roles, 6)) == 2
    (warning,) = roles.warnings
    assert said in warning
    assert "which of its markers the assistant says is not known" in warning


def test_a_template_that_never_ends_is_ended_and_others_are_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_SECONDS", 2.0)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}<|a|>"
    named = [{"name": "default", "template": CHATML}, {"name": "endless", "template": endless}]
    roles = roles_of(save(tmp_path, "<|im_end|>", "<|a|>", tokenizer_config__json={"chat_template": named}))
    assert "end of turn" in names(roles, 6)
    assert names(roles, 7) == {"special", "template marker"}
    assert "it takes too long" in roles.warnings[0]


def test_damaged_files_and_absent_ids_are_warnings(tmp_path: Path) -> None:
    folder = save(
        tmp_path, "<|a|>",
        generation_config__json={"eos_token_id": ["</s>"], "bos_token_id": True, "pad_token_id": 99,
                                 "bad_words_ids": 3},
        config__json="{",
        special_tokens_map__json="[]",
        tokenizer_config__json={"chat_template": 5},
    )  # fmt: skip
    roles = roles_of(folder, rows=10)
    assert roles.absent == ((99, "pad", "generation_config.json: pad_token_id"),)
    said = [warning.removeprefix(f"{folder}/").removeprefix(f"{folder}: ") for warning in roles.warnings]
    assert said[0] == "special_tokens_map.json: holds no JSON object; copy or download it again"
    assert (
        said[1]
        == "tokenizer_config.json: chat_template is neither a text nor a list of named ones: it is passed over"
    )
    assert said[2].startswith("generation_config.json: eos_token_id is ['</s>'], but must be a whole number")
    assert said[3].startswith("generation_config.json: bos_token_id is True, but must be")
    assert said[4].startswith("generation_config.json: bad_words_ids is 3, but must be a list of lists")
    assert said[5].startswith("config.json: not readable as JSON")
    assert said[6] == "ids that have no row in the head of 10: generation_config.json: pad_token_id is 99"
    assert len(said) == 7


def test_no_folder_and_an_empty_one_have_no_roles(tmp_path: Path) -> None:
    assert read_roles(None, [None, None], 2) == Roles({})
    assert read_roles(tmp_path, [None, None], 2) == Roles({})
