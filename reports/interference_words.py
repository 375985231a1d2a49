"""What a measurement of interference says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reach.interference.speakability import indicator_title

_FAR = 3.0
"""A z-score beyond this is called outside the band; with few draws no finer statement is honest."""

_SAYS = {
    "gaussian": "Gaussian rows of the same shape",
    "covariance": "Gaussian rows with the model's mean, covariance and lengths",
    "permuted": "the model's columns, each shuffled",
    "reinitialised": "the same architecture before training",
}


def sentences(case: Mapping[str, Any]) -> list[str]:
    """What the comparison with chance says about one matrix."""
    values, controls = case["statistics"], case["controls"]
    said = [
        f"Two different tokens overlap by |cos| {values['mean']:.3f} on average; for random directions it is "
        f"{case['chance']['mean']:.3f}.",
        f"A token's strongest interferer has |cos| {values['mean_strongest']:.3f} on average; chance alone gives "
        f"{case['chance']['mean_strongest']:.3f}.",
    ]
    for kind in _SAYS:
        if kind in controls:
            said.append(_against(kind, controls[kind]["statistics"], values))
    part = explained(case)
    if part is not None:
        share = (
            f"for {part:.0%}; the rest is arrangement that these do not contain" if part < 0.995 else "for all of it"
        )
        said.append(
            "Of the mean |cos| in excess of Gaussian rows, mean, covariance and row lengths alone account "
            + share
            + "."
        )
    return said


def explained(case: Mapping[str, Any]) -> float | None:
    """Share of the excess mean |cos| over Gaussian rows that the covariance control reproduces."""
    controls = case["controls"]
    if "gaussian" not in controls or "covariance" not in controls:
        return None
    own, gaussian = case["statistics"]["mean"], controls["gaussian"]["statistics"]["mean"]
    excess = own - gaussian["mean"]
    if gaussian["z"] is None or gaussian["z"] < _FAR or excess <= 0:
        return None
    found: float = (controls["covariance"]["statistics"]["mean"]["mean"] - gaussian["mean"]) / excess
    return found


def _against(kind: str, bands: Mapping[str, Any], values: Mapping[str, float]) -> str:
    parts = [
        _compared(bands.get("mean"), values["mean"], "on average", 3),
        _compared(bands.get("mean_strongest"), values["mean_strongest"], "at each token's strongest interferer", 3),
    ]
    return f"Against {_SAYS[kind]}: " + "; ".join(part for part in parts if part) + "."


def _compared(band: Mapping[str, Any] | None, value: float, where: str, digits: int) -> str:
    if band is None:
        return ""
    beside = f"({value:.{digits}f} to {band['mean']:.{digits}f})"
    if band["z"] is None or abs(band["z"]) < _FAR:
        return f"no more and no less interference {where} than chance leaves open {beside}"
    return f"{'more' if band['z'] > 0 else 'less'} interference {where} {beside}"


def split_sentence(case: Mapping[str, Any]) -> str:
    """Whether the rows fall into orthogonal groups, and what the subspace model would have said."""
    blocks, fit = case["blocks"], case["subspaces"]
    if blocks is None:
        return "Orthogonal groups were not looked for."
    if blocks["k"] == 1:
        said = f"No split: the |cos| graph of {blocks['rows']:,} rows is one piece (connectivity "
        said += f"{blocks['connectivity']:.2f}; 0 would mean orthogonal groups)."
    else:
        inside, between = f"{blocks['within']:.3f}", f"{blocks['between']:.3f}"
        said = f"{blocks['k']} groups, with mean |cos| {inside} inside them and {between} between."
    if fit is None:
        return said
    said += f" The moments of |cos| suggest k = {fit['k_moments']:.2f} (1 by chance)."
    if fit["alpha"] is None:
        return f"{said} The subspace model itself makes no prediction here: {fit['reason']}."
    return f"{said} The exponent that prefers this k is α = {fit['alpha']:.2f}, whose optimum is k = {fit['k']:.2f}."


def dictionary_sentence(found: Mapping[str, Any]) -> str:
    """Dictionary against SVD, and the same comparison for chance."""
    if found.get("reason"):
        return f"No dictionary was learned: {found['reason']}."
    own = found["model"]
    at = len(own["sparsity"]) // 2
    said = (
        f"With {own['sparsity'][at]} coefficients per row, {own['atoms']} learned atoms explain "
        f"{own['dictionary'][at]:.1%} of rows they were not learned from, the {own['svd_directions']} singular "
        f"directions {own['svd'][at]:.1%}."
    )
    draws = found["controls"].get("covariance")
    if draws:
        dictionary = sum(draw["dictionary"][at] for draw in draws) / len(draws)
        svd = sum(draw["svd"][at] for draw in draws) / len(draws)
        said += f" Gaussian rows with the same covariance and lengths: {dictionary:.1%} and {svd:.1%}."
    return said


def speakability_sentences(found: Mapping[str, Any]) -> list[str]:
    """Which indicator tells best, and what that does not mean."""
    if found.get("reason"):
        return [f"Not compared with verdicts: {found['reason']}."]
    said = []
    for question, words in (("unspeakable", "unspeakable"), ("hard_to_speak", "hard-to-speak")):
        rows = [row for row in found["indicators"] if row[question]]
        if not rows:
            said.append(f"There are no {words} tokens, or nothing to tell them from.")
            continue
        best = max(rows, key=lambda row: abs(row[question]["auc"] - 0.5))
        area = best[question]
        side = "high" if area["auc"] >= 0.5 else "low"
        said.append(
            f"Of {area['positives']:,} {words} tokens, {indicator_title(best)} tells best: {side} values, area "
            f"{max(area['auc'], 1 - area['auc']):.3f} (0.5 is a coin, 1 is certain)."
        )
    said.append("An indicator that tells is no cause, and which side it tells on may differ from model to model.")
    return said
