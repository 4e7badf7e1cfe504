"""Make docs/paper.md and its figures from what was found.

    python benchmarks/paper/report.py

Tables and curves come from benchmarks/paper/results, where run.py, deepstorm.py, semiblind.py and
unrolling.py leave them; the text around them is in discussion.md, which keeps the tables it has of
what was not run again. Pictures are drawn by figures.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from deepstorm import FILE
from experiments import EXPERIMENTS
from matplotlib import pyplot as plt
from run import PAPER, RESULTS, SUPPORT

from napari_unfold.learning.appraisal import TOLERANCES_PX
from napari_unfold.tables.evaluate import jaccard_on_grid
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

mpl.use("agg")

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
NAMES = {"gaussian": "G", "kl": "KL"}
CURVE_FRAMES = 4


def load(name: str) -> dict[str, Any]:
    """Return the results of one experiment."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return content


HEAD = """\
| loss | fidelity | penalty | method | K | seeds | J before | J 0 | J 2 | J 4 | mean J | gain \
(± standard error) | PSNR | PSNR, binarized | likeness |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""
WHAT, METHOD = 5, 3
"""The first cells of a line tell what was learned, one of them by which method."""

METHODS = ("paper", "classical", "schedules", "quarters", "simulated", "the paper")


def table(name: str, before: str) -> str:
    """Return the table of an experiment: every model before and after, over its seeds.

    Below it networks like DeepSTORM, and the numbers of the paper. Lines of the table as it was
    `before` stay if there is nothing new for them.
    """
    lines = [*before.splitlines()[2:], *learned_lines(name), *deepstorm_lines(name)]
    for model, (*jaccard, noise_ratio) in PAPER[name].items():
        loss, _, fidelity = model.partition(" ")
        by_tolerance = " | ".join(f"{j:.3f}" for j in jaccard)
        penalty, iterations = ("l1", "?") if fidelity else ("", "")
        lines.append(
            f"| {loss} | {fidelity} | {penalty} | the paper | {iterations} | | | {by_tolerance} | "
            f"**{np.mean(jaccard):.3f}** | | {noise_ratio:.1f} | |"
        )
    latest = {tuple(cells(line)[:WHAT]): line for line in lines}
    order = sorted(latest, key=lambda what: METHODS.index(what[METHOD]))
    columns = HEAD.count("|") // 2 - 1
    full = [latest[what] + " |" * (columns - len(cells(latest[what]))) for what in order]
    return HEAD + "\n".join(full)


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return [cell.strip() for cell in line.split("|")[1:-1]]


def learned_lines(name: str) -> list[str]:
    """Return what run.py found of an experiment."""
    if not (RESULTS / f"{name}.json").is_file():
        return []
    lines = []
    for rows in grouped(load(name)["rows"], "name"):
        first = rows[0]
        error = np.mean([row["gain_error"] for row in rows])
        gain = f"{np.mean([row['gain'] for row in rows]):+.3f} ± {error:.3f}"
        if not any(row["best"] for row in rows):
            gain = "the start is the best" if first["method"] != "classical" else ""
        lines.append(
            f"| {first['loss']} | {NAMES[first['fidelity']]} | {first['penalty']} | "
            f"{first['method']} | {first['iterations']} | {len(rows)} | "
            f"{np.mean([row['before'] for row in rows]):.3f} | {jaccard_cells(rows)} | {gain} | "
            f"{noise_cells(rows)} | {likeness_cell(rows)} |"
        )
    return lines


def likeness_cell(rows: list[dict[str, Any]]) -> str:
    """Return the correlation of the frames, and of their mean, with the truth after learning."""
    frames, mean = (
        np.mean([row[key][-1] for row in rows]) for key in ("correlation", "correlation_of_mean")
    )
    return f"{frames:.3f} / {mean:.3f}"


def deepstorm_lines(name: str) -> list[str]:
    """Return what deepstorm.py found of an experiment."""
    if not FILE.is_file():
        return []
    rows = [row for row in load(FILE.stem)["rows"] if row["experiment"] == name]
    return [
        f"| DeepSTORM-like | | | {same[0]['data']} | | {len(same)} | | "
        f"{jaccard_cells(same)} | | {noise_cells(same)} |"
        for same in grouped(rows, "data")
    ]


def grouped(rows: list[dict[str, Any]], key: str) -> list[list[dict[str, Any]]]:
    """Return rows of the same model, which differ in their seed."""
    return [[row for row in rows if row[key] == value]
            for value in dict.fromkeys(row[key] for row in rows)]  # fmt: skip


def jaccard_cells(rows: list[dict[str, Any]]) -> str:
    """Return J at each tolerance and on the whole, with its spread over the seeds."""
    after = np.array([row["after"] for row in rows])
    means = after.mean(axis=1)
    spread = f" ± {means.std(ddof=1):.3f}" if len(rows) > 1 else ""
    return f"{' | '.join(f'{j:.3f}' for j in after.mean(axis=0))} | **{means.mean():.3f}**{spread}"


def noise_cells(rows: list[dict[str, Any]]) -> str:
    """Return the PSNR of the light and of lit pixels."""
    return " | ".join(
        f"{np.mean([row[key] for row in rows]):.1f}" for key in ("psnr", "psnr_binarized")
    )


def training_figure(result: dict[str, Any], loss: str, path: Path) -> None:
    """Draw the paper's figure 5: outer iterations on the left, inner ones on the right."""
    row = next((r for r in result["rows"] if r["loss"] == loss), None)
    if row is None:
        return
    experiment = EXPERIMENTS["3"](row["seed"])
    history = row["history"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot([h["training_loss"] for h in history], "C0", label="training loss")
    left.plot([h["validation_loss"] for h in history], "C0--", label="validation loss")
    left.set(xlabel="outer iteration", ylabel="loss")
    twin = left.twinx()
    twin.plot([h["threshold_photons"] for h in history], "C1", label="threshold")
    twin.set_ylabel("threshold", color="C1")
    left.legend(fontsize=8)
    parameters = NetworkParameters.model_validate(row["parameters"])
    network = UnfoldedNetwork(experiment.operator, parameters)
    test = experiment.test[:CURVE_FRAMES]
    ks, energy, jaccard = [], [], []
    for k, x in enumerate(iterates_in_place(network, test.y, test.b), start=1):
        if k % 10 == 0:
            ks.append(k)
            with torch.no_grad():
                energy.append(float(network.energy(x, test.y, test.b).mean()))
            support = SUPPORT * experiment.molecule_photons
            scores = [
                jaccard_on_grid(x.numpy(), test.truth.numpy(), support, t) for t in TOLERANCES_PX
            ]
            jaccard.append(float(np.mean(scores)))
    right.semilogy(ks, energy, "C0")
    right.set(xlabel="inner iteration", ylabel="energy")
    twin = right.twinx()
    twin.plot(ks, jaccard, "C1")
    twin.set_ylabel("mean J, without threshold", color="C1")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def unrolling_figure(result: dict[str, Any], path: Path) -> None:
    """Draw the Jaccard index over the number of iterations, classical and learned."""
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for color, (penalty, kinds) in zip(("C0", "C1"), result.items(), strict=True):
        for kind, style in (("classical", "-"), ("learned", "o")):
            ks, values = [int(k) for k in kinds[kind]], list(kinds[kind].values())
            axes.plot(ks, values, color + style, label=f"{penalty}, {kind}")
    axes.set(xscale="log", xlabel="iterations K", ylabel="mean J on test frames")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def unrolling_table(result: dict[str, Any]) -> str:
    """Return how many classical iterations a learned network stands for."""
    lines = [
        "| penalty | K learned | mean J | classical K for the same | classical K with l1 |",
        "|---|---|---|---|---|",
    ]
    for penalty, kinds in result.items():
        for k, value in kinds["learned"].items():
            needed = [enough(result[p]["classical"], value) for p in (penalty, "l1")]
            lines.append(f"| {penalty} | {k} | {value:.3f} | {' | '.join(needed)} |")
    return "\n".join(lines)


def enough(classical: dict[str, float], value: float) -> str:
    """Return the smallest K of a curve that reaches a value."""
    reaching = [k for k, j in classical.items() if j >= value]
    return reaching[0] if reaching else f"more than {max(classical, key=int)}"


def semiblind_table(result: dict[str, Any]) -> str:
    """Return the table of experiment 4: learned sigma, J with and without binarization."""
    lines = [
        "| loss | start | learned sigma | J 0 | J 2 | J 4 | mean J | mean J, not binarized |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        error = 100 * (row["sigma_px"] / result["sigma_px"] - 1)
        values = " | ".join(f"{j:.3f}" for j in row["binarized"])
        lines.append(
            f"| {row['loss']} | {100 * (row['start'] - 1):+.0f} % | {row['sigma_px']:.3f} px "
            f"({error:+.1f} %) | {values} | **{np.mean(row['binarized']):.3f}** | "
            f"{np.mean(row['not binarized']):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write the page, with what there are results of; the rest stays as it is in discussion.md."""
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    text = (HERE / "discussion.md").read_text("utf-8")
    for name in EXPERIMENTS:
        text = replaced(text, name, table(name, marked(text, name)))
    there = {path.stem: load(path.stem) for path in RESULTS.glob("*.json")}
    for name, make in (("4", semiblind_table), ("unrolling", unrolling_table)):
        if name in there:
            text = replaced(text, name, make(there[name]))
    if "3" in there:
        training_figure(there["3"], "localization", images / "paper-training.png")
        training_figure(there["3"], "tolerant", images / "paper-training-tolerant.png")
    if "unrolling" in there:
        unrolling_figure(there["unrolling"], images / "paper-unrolling.png")
    (HERE / "discussion.md").write_text(text, "utf-8")
    (DOCS / "paper.md").write_text(text, "utf-8")


def marked(text: str, name: str) -> str:
    """Return the table between two marks."""
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]


def replaced(text: str, name: str, table_: str) -> str:
    """Put a table between its two marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{table_}\n{end}{after}"


if __name__ == "__main__":
    main()
