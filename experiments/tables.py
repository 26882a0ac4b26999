"""Write the tables of README and docs from experiments/results/, so that no number is typed by hand.

python experiments/tables.py          rewrite every block between `<!-- table NAME ARGUMENTS -->` and `<!-- end -->`
python experiments/tables.py --check  exit with 1 where a block differs from its file
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from grasper.files import read_json

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table (?P<name>[\w-]+)(?P<arguments>[^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
PUBLISHED = {
    # PGraphRAG (arXiv:2501.02157), test split: ROUGE-1 / ROUGE-L / METEOR of Llama-3.1-8B and GPT-4o-mini
    ("amazon", "long"): (".178/.129/.151", ".189/.130/.196"),
    ("hotel", "long"): (".263/.157/.191", ".263/.152/.206"),
    ("stylized", "long"): (".217/.158/.178", ".211/.140/.202"),
    ("multilingual", "long"): (".188/.147/.145", ".194/.144/.171"),
    ("amazon", "title"): (".131/.125/.125", ".115/.112/.099"),
    ("hotel", "title"): (".127/.118/.102", ".116/.111/.081"),
    ("stylized", "title"): (".149/.142/.142", ".122/.118/.104"),
    ("multilingual", "title"): (".124/.116/.108", ".111/.105/.083"),
    ("amazon", "rating"): (".3400/.7668", ".3832/.7392"),
    ("hotel", "rating"): (".3688/.6771", ".3284/.6083"),
    ("stylized", "rating"): (".3476/.7247", ".3476/.6738"),
    ("multilingual", "rating"): (".4928/.8367", ".4348/.7367"),
}
METRICS = {"long": ("rouge1", "rougeL", "meteor", "bits"), "title": ("rouge1", "rougeL", "meteor", "bits"), "rating": ("mae", "rmse", "bits")}


def _results(name: str) -> dict[str, Any]:
    return dict(read_json(ROOT / "experiments" / "results" / f"{name}.json"))


def _cell(entry: dict[str, float] | None) -> str:
    if entry is None:
        return "–"
    half = (entry["high"] - entry["low"]) / 2
    return f"{entry['value']:.3f} ± {half:.3f}"


def methods_table(name: str, task: str) -> str:
    """One row per method: value ± half of the 95 % interval; the published numbers of the task below."""
    results = _results(name)
    rows = {method: tasks[task] for method, tasks in results["methods"].items() if task in tasks}
    metrics = [found for metric in METRICS[task] for found in (metric, f"{metric}_no_wordnet") if any(found in row for row in rows.values())]
    count = max(row[metrics[0]]["n"] for row in rows.values())
    lines = [f"| {name} · {task} · n = {count} | {' | '.join(metrics)} |", f"|---|{'--:|' * len(metrics)}"]
    lines += [f"| `{method}` | {' | '.join(_cell(row.get(metric)) for metric in metrics)} |" for method, row in rows.items()]
    if published := PUBLISHED.get((name.removeprefix("smollm2/"), task)):
        for source, numbers in zip(("Llama-3.1-8B", "GPT-4o-mini"), published, strict=True):
            lines.append(f"| *PGraphRAG with {source}, published (test)* | {' | '.join(numbers.split('/'))} |")
    return "\n".join(lines)


def titles_table(*names: str) -> str:
    """Titles beside copied ones: ROUGE-L of both and their paired difference."""
    lines = ["| titles · ROUGE-L | n | `copy` | `pgraphrag` | `pgraphrag` minus `copy` |", "|---|--:|--:|--:|--:|"]
    for name in names:
        results = _results(name)
        pairs = {(p["method"], p["other"], p["task"], p["metric"]): p for p in results["comparison"]["pairs"]}
        copied, written = (results["methods"][method]["title"]["rougeL"] for method in ("copy", "pgraphrag"))
        change = _difference(pairs, "pgraphrag", "copy", "title", "rougeL")
        lines.append(f"| {name.rpartition('/')[2]} | {written['n']} | {_cell(copied)} | {_cell(written)} | {change} |")
    return "\n".join(lines)


def provenance_line(name: str) -> str:
    """Command, seed, hardware and commits of a results file in one sentence; the minutes are those of the stages, which bits are none of."""
    facts = _results(name)["provenance"]
    commits = sorted({stage["commit"] or "unknown" for stage in facts["stages"].values()})
    seconds = sum(stage["seconds"] for stage in facts["stages"].values())
    hardware = facts["hardware"]["gpu"] or f"{facts['hardware']['cores']} cores of {facts['hardware']['cpu']}"
    hardware += f", {facts['hardware']['format']}" if "format" in facts["hardware"] else ""
    minutes = f"{'pipeline: ' if 'grasper bits' in facts['command'] else ''}{seconds / 60:.0f} minutes"
    return f"`{facts['command']}` · seed {facts['seed']} · {hardware} · {minutes} · commit {', '.join(f'`{c}`' for c in commits)}"


COMPARED = (("long", "rouge1"), ("long", "meteor"), ("long", "bits"), ("title", "rouge1"), ("rating", "mae"))


def differences_table(method: str, baseline: str, *names: str) -> str:
    """Paired differences of two methods on several data sets, with 95 % intervals; differences whose interval leaves out zero in bold.

    Where a record holds them, also over the targets whose text stands nowhere else in the data.
    """
    rows = []
    for name in names:
        rows.append((name, _pairs_of(name), method, baseline))
        unrepeated = _results(name).get("without_repeated", {})
        if "pairs" in unrepeated:
            rows.append((f"… its {unrepeated['n_examples']} targets that repeat no text", unrepeated["pairs"], method, baseline))
    return _comparison(f"`{method}` minus `{baseline}`", rows)


def summary_table(sets: str, *compared: str) -> str:
    """Paired differences of whole methods side by side: a row each for `METHOD:OTHER:TASK:METRIC`, a column for each of the sets (`a,b,c`)."""
    names = sets.split(",")
    lines = [f"| | {' | '.join(name.rpartition('/')[2] for name in names)} |", f"|---|{'--:|' * len(names)}"]
    for row in compared:
        method, other, task, metric = row.split(":")
        found = [{(p["method"], p["other"], p["task"], p["metric"]): p for p in _pairs_of(name)} for name in names]
        cells = " | ".join(_difference(pairs, method, other, task, metric) for pairs in found)
        lines.append(f"| `{method}` minus `{other}`, {task} {metric} | {cells} |")
    return "\n".join(lines)


def ablations_table(name: str, method: str, *others: str) -> str:
    """Paired differences of a method and each of its ablations on one data set."""
    return _comparison(f"{name}: `{method}` minus …", [(f"`{other}`", _pairs_of(name), method, other) for other in others])


def zero_history_table(name: str, method: str, *others: str) -> str:
    """Paired differences of a method and others, over all targets and over those of people without other reviews."""
    results = _results(name)
    title = f"{name}: `{method}` minus …"
    parts = ((results["n_examples"], results["comparison"]), (results["zero_history"]["n_examples"], results["zero_history"]))
    labels = (f"all {parts[0][0]}", f"the {parts[1][0]} without history")
    rows = [(f"`{other}`, {label}", found["pairs"], method, other) for other in others for label, (_, found) in zip(labels, parts, strict=True)]
    return _comparison(title, rows)


Pairs = list[dict[str, Any]]


def _pairs_of(name: str) -> Pairs:
    return list(_results(name)["comparison"]["pairs"])


def _comparison(title: str, rows: Iterable[tuple[str, Pairs, str, str]]) -> str:
    """A table of paired differences; each row: label, rows of the results file, method, other method. What was measured in no row is left out."""
    rows = list(rows)
    measured = {(pair["task"], pair["metric"]) for _, pairs, *compared in rows for pair in pairs if {pair["method"], pair["other"]} == set(compared)}
    columns = [column for column in COMPARED if column in measured]
    lines = [f"| {title} | {' | '.join(f'{task} {metric}' for task, metric in columns)} |", f"|---|{'--:|' * len(columns)}"]
    for label, found, method, other in rows:
        pairs = {(p["method"], p["other"], p["task"], p["metric"]): p for p in found}
        lines.append(f"| {label} | {' | '.join(_difference(pairs, method, other, task, metric) for task, metric in columns)} |")
    return "\n".join(lines)


def _difference(pairs: dict[Any, dict[str, Any]], method: str, baseline: str, task: str, metric: str) -> str:
    sign = 1
    pair = pairs.get((method, baseline, task, metric))
    if pair is None:
        sign, pair = -1, pairs.get((baseline, method, task, metric))
    if pair is None:
        return "–"
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return _signed_entry({"value": sign * pair["difference"], "low": low, "high": high})


def seeds_table(name: str) -> str:
    """What the seed alone changes: each seed's means, and the mean over the seeds with its interval over items."""
    results = _results(f"seeds/{name}")
    shown = [pair for pair in COMPARED if pair[1] != "bits"]
    lines = [f"| {name} | {' | '.join(' '.join(pair) for pair in shown)} |", f"|---|{'--:|' * len(shown)}"]
    for method, tasks in results["methods"].items():
        cells = []
        for task, metric in shown:
            each = " / ".join(f"{value:.3f}" for value in results["by_seed"][method][task][metric])
            cells.append(f"{_cell(tasks[task][metric])} ({each})")
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost_table(*names: str) -> str:
    """Seconds and tokens of writing per method, summed over the data sets."""
    lines = ["| method | seconds | tokens read | tokens written |", "|---|--:|--:|--:|"]
    costs = [_results(name)["cost"] for name in names]
    for method in costs[0]:
        spent = [cost[method] for cost in costs]
        is_known = all(one["seconds"] or not one["tokens_in"] for one in spent)  # a kill once lost the seconds of what had been written
        seconds = f"{sum(one['seconds'] or 0.0 for one in spent):.0f}" if is_known else "–"
        lines.append(f"| `{method}` | {seconds} | {' | '.join(f'{sum(one[name] for one in spent):,.0f}' for name in ('tokens_in', 'tokens_out'))} |")
    return "\n".join(lines)


def spending_table(name: str) -> str:
    """Tokens per answer of writing, synthetic reviews included, and tokens of the alignment that each method rests on."""
    results = _results(name)
    lines = ["| method | read per answer | written per answer | alignment: read | written |", f"|---|{'--:|' * 4}"]
    for method, cost in results["cost"].items():
        answers = sum(next(iter(metrics.values()))["n"] for metrics in results["methods"][method].values())  # the run may hold more
        each = [cost[entry] / answers for entry in ("tokens_in", "tokens_out")]
        aligned = [f"{cost[entry]:,.0f}" if cost.get(entry) else "–" for entry in ("align_tokens_in", "align_tokens_out")]
        lines.append(f"| `{method}` | {each[0]:,.0f} | {each[1]:,.0f} | {' | '.join(aligned)} |")
    return "\n".join(lines)


def preference_table(*names: str) -> str:
    """Preference rounds by data set and setting, on held-out pairs: differential reward, what it gained, mean reward, words, copied 8-grams."""
    lines = [
        "| | settings of `align.dpo` | round | pairs learned from | differential reward | gain over round 0 | reward | words | 8-grams copied |",
        f"|---|---|--:|--:|{'--:|' * 5}",
    ]
    variants = [(name, *variant) for name in names for variant in _results(f"preference/{name}")["variants"].items()]
    for name, settings, found in variants:
        for entry in found["rounds"]:
            held_out = entry["held_out"]
            difference, gain = (held_out[kind]["both"] for kind in ("difference", "gain_over_round_0"))
            change = _signed_entry(gain) if entry["round"] else "–"
            pairs = entry.get("selection", {}).get("pairs", "–")
            numbers = f"{held_out['reward']:.3f} | {held_out['draft_words']:.1f} | {held_out['copied_share']:.4f}"
            lines.append(f"| {name} | `{settings}` | {entry['round']} | {pairs} | {_signed_entry(difference)} | {change} | {numbers} |")
    return "\n".join(lines)


def likelihood_rounds_table(*names: str) -> str:
    """Reward on held-out pairs before preference rounds by likelihood and after each, as runs record it."""
    lines = ["| reward on held-out pairs | before | after round 1 | after round 2 | kept | preference pairs |", "|---|--:|--:|--:|--:|--:|"]
    for name in names:
        counts = _results(name)["provenance"]["stages"]["align/pat"]["counts"]
        rewards = " | ".join(f"{reward:.4f}" for reward in counts["held_out_reward"])
        lines.append(f"| {name} | {rewards} | round {counts['best_round']} | {counts['preference_pairs']} |")
    return "\n".join(lines)


def steps_table(*names: str) -> str:
    """The drafts of each step of dual reasoning, and those kept: means, and in brackets the paired difference to step 0, of the kept to the last."""
    metrics = ("rouge1", "meteor_no_wordnet", "words")
    lines = [f"| | | n | step | {' | '.join(metrics)} | ended after it |", f"|---|---|--:|--:|{'--:|' * 4}"]
    tasks = [(name, *found) for name in names for found in _results(name)["tasks"].items()]
    for name, task, found in tasks:
        last = f"minus_step_{len(found['steps']) - 1}"
        for step, entry in [*found["steps"].items(), *([("kept", found["kept"])] if "kept" in found else [])]:
            cells = [f"{entry['value'][metric]['value']:.3f}" for metric in metrics]
            if step != "0":
                change = entry[last if step == "kept" else "minus_step_0"]
                cells = [f"{cell} ({_signed_entry(change[metric])})" for cell, metric in zip(cells, metrics, strict=True)]
            told = f"{entry['earlier_drafts']} earlier" if step == "kept" else found["ended_after"][step]
            lines.append(f"| {name} | {task} | {found['n']} | {step} | {' | '.join(cells)} | {told} |")
    return "\n".join(lines)


def notes_table(name: str) -> str:
    """What notes are worth on held-out pairs, by whose they are: reward of drafts with them minus drafts without notes."""
    kinds = ("own", "shuffled", "own minus shuffled", "analysed", "analysed minus own")
    found = _results(f"preference/{name}")["held_out"]
    lines = [f"| notes on | n | {' | '.join(kinds)} | own, judged twice: correlation |", f"|---|--:|{'--:|' * (len(kinds) + 1)}"]
    for reasoner, groups in found.items():
        entries = groups["texts"]
        cells = " | ".join(_signed_entry(entries[kind]) for kind in kinds)
        lines.append(f"| {reasoner}, texts and titles | {entries['own']['n']} | {cells} | {groups['correlation_of_two_judgements']:+.2f} |")
    return "\n".join(lines)


def luck_table(*names: str) -> str:
    """Preference pairs of the first round judged again: the gap between their sides when they were chosen and on other drafts."""
    lines = ["| pairs of the first round | asked for | n | gap when chosen | gap on other drafts | chosen side ahead on other drafts |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    for name in names:
        for task, found in _results(f"preference/{name}")["first_round"].items():
            if task in ("texts", "rating"):
                gaps = found["gap"]
                ahead = found["chosen_is_ahead"]["on other drafts"]
                cells = f"{_signed_entry(gaps['when chosen'])} | {_signed_entry(gaps['on other drafts'])}"
                share = f"{ahead['value']:.0%} [{ahead['low']:.0%}, {ahead['high']:.0%}]"
                lines.append(f"| {name} | {task} | {gaps['when chosen']['n']} | {cells} | {share} |")
    return "\n".join(lines)


def alignment_table(*names: str) -> str:
    """Aligned minus base model on held-out requests, by task: reward of the written texts, and NLL of the real ones."""
    chosen = {"reward": "reward of the written", "nll_of_real": "NLL of the real, nats a token"}
    lines = [f"| aligned minus base | task | n | {' | '.join(chosen.values())} |", f"|---|---|--:|{'--:|' * len(chosen)}"]
    for name in names:
        for task, entries in _results(f"alignment/{name}")["alignment"]["results"]["held_out"].items():
            found = [entries["aligned_minus_base"][metric] for metric in chosen]
            lines.append(f"| {name} | {task} | {found[0]['n']} | {' | '.join(map(_signed_entry, found))} |")
    return "\n".join(lines)


def boilerplate_table(*names: str) -> str:
    """The commonest sentence of the real texts: who writes it, and what the aligned model gains with and without it."""
    lines = [
        "| texts | words of the sentence | in the real | base | aligned | aligned minus base | without the sentence |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        found = _results(f"alignment/{name}")["boilerplate"]["results"]
        shares = " | ".join(f"{found['share'][who]['value']:.0%}" for who in ("real", "base", "aligned"))
        gains = " | ".join(_signed_entry(found[metric]["aligned_minus_base"]) for metric in ("reward", "reward_without"))
        lines.append(f"| {name} | {found['words']} | {shares} | {gains} |")
    return "\n".join(lines)


def _signed_entry(entry: dict[str, float]) -> str:
    cell = f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"
    return f"**{cell}**" if entry["low"] > 0 or entry["high"] < 0 else cell


def losses_table(*names: str) -> str:
    """The loss curve of the fine-tuning: mean training loss in each quarter, and the evaluation loss after each epoch, in nats a token."""
    lines = ["| fine-tuning | sequences | steps | training loss by quarter | evaluation loss by epoch |", "|---|--:|--:|--:|--:|"]
    for name in names:
        results = _results(f"alignment/{name}")["alignment"]["results"]
        counts, curve = results["counts"], results["loss_curve"]
        quarters: list[list[float]] = [[], [], [], []]
        for entry in curve:
            if "loss" in entry:
                quarters[min(3, 4 * entry["step"] // counts["steps"])].append(entry["loss"])
        training = " → ".join(f"{sum(losses) / len(losses):.3f}" for losses in quarters if losses)
        evaluation = " → ".join(f"{entry['eval_loss']:.3f}" for entry in curve if "eval_loss" in entry)
        lines.append(f"| {name} | {counts['sequences']} | {counts['steps']} | {training} | {evaluation} |")
    return "\n".join(lines)


def examples_list(name: str, count: str) -> str:
    """What base and aligned model wrote for the first held-out text requests; generated data only, so nobody's texts are shown."""
    lines = []
    for example in _results(f"alignment/{name}")["alignment"]["results"]["examples"][: int(count)]:
        lines.append(f"- **{example['item']}**, title given: *{example['given_title'] or 'none'}*. Really written: {example['real']}")
        for model in ("base", "aligned"):
            plan = (example[model]["path"] or "no path").splitlines()[-1]
            lines.append(f"  - *{model}* (reward {example[model]['reward']:.2f}; {plan}): {example[model]['text']}")
    return "\n".join(lines)


def plan_table(*names: str) -> str:
    """Whether written texts are as long as their plan says: Pearson's correlation with its 95 % interval, by source of the path."""
    lines = ["| planned and written words | paths | n | correlation |", "|---|---|--:|--:|"]
    for name in names:
        for source, found in _results(f"alignment/{name}")["plan"]["results"].items():
            lines.append(f"| {name} | {source} | {found['n']} | {_signed_entry(found)} |")
    return "\n".join(lines)


def rounds_table(*names: str) -> str:
    """REST-PG by round: mean reward on held-out requests, and its paired difference to the SFT start."""
    lines = ["| REST-PG | round | sequences | long | title | rating |", "|---|--:|--:|--:|--:|--:|"]
    for name in names:
        for entry in _results(f"alignment/{name}")["rounds"]["results"]:
            cells = []
            for task in METRICS:
                found = entry["held_out"][task]
                change = f" ({_signed_entry(found['minus_start'])})" if entry["round"] else ""
                cells.append(f"{found['reward']['value']:.3f}{change}")
            lines.append(f"| {name} | {entry['round']} | {entry['sequences']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def selection_table(*names: str) -> str:
    """Mean reward of the best of m samples, by task; m = 1 is the mean sampled reward."""
    sizes = (1, 2, 4, 8, 16)
    lines = [f"| best of m | paths | task | {' | '.join(f'm = {m}' for m in sizes)} |", f"|---|---|---|{'--:|' * len(sizes)}"]
    for name in names:
        for source, tasks in _results(f"alignment/{name}")["selection"]["results"].items():
            for task, entries in tasks.items():
                cells = [f"{entries[f'best_of_{m}']['value']:.3f}" for m in sizes]
                lines.append(f"| {name} | {source} | {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def votes_table(name: str) -> str:
    """What the choice among n samples gains over one in long texts, and what of it is the vote of the retrieved texts."""
    lines = ["| long texts | method | n | chosen minus one: rouge1 | meteor | with minus without their vote: rouge1 | meteor |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    for dataset, methods in _results(name)["sets"].items():
        for method, tasks in methods.items():
            gains = [tasks["long"][way][metric] for way in ("gain with evidence", "gain of evidence") for metric in ("rouge1", "meteor")]
            lines.append(f"| {dataset} | `{method}` | {gains[0]['n']} | {' | '.join(map(_signed_entry, gains))} |")
    return "\n".join(lines)


def consensus_table(*names: str) -> str:
    """What the minimum-Bayes-risk choice among n samples gains over one sample, and how much either copies from the prompt."""
    lines = ["| chosen minus one sample | method | task | rouge1 | meteor | 8-grams copied: one → chosen |", "|---|---|---|--:|--:|--:|"]
    for name in names:
        for method, tasks in _results("bench/consensus")["sets"][name].items():
            for task, ways in tasks.items():
                gains = " | ".join(_signed_entry(ways["gain with evidence"][metric]) for metric in ("rouge1", "meteor"))
                copied = " → ".join(f"{ways[way]['copied']['value']:.3f}" for way in ("one sample", "with evidence"))
                lines.append(f"| {name} | `{method}` | {task} | {gains} | {copied} |")
    return "\n".join(lines)


def prefill_line() -> str:
    """What reading a prompt once for all its samples gains."""
    found = _results("bench/shared_prefill")
    speed = found["tokens_per_second"]["seconds"]
    each = ", ".join(f"{ratio:.1f}" for ratio in found["ratio_by_repetition"]["seconds"])
    return (
        f"One shared prefill for {found['samples']} samples: {speed['shared']:.0f} tokens a second beside {speed['unshared']:.0f} without, "
        f"{found['ratio']:.1f} times as many (repetitions: {each}), on {found['n']} alignment prompts of {found['mean_prompt_tokens']:.0f} tokens; "
        f"{found['machine']}."
    )


def variants_table(name: str) -> str:
    """Settings that were tried on dev-a: their means, and in brackets the paired difference to the settings as they stand."""
    results = _results(f"variants/{name}")
    columns = (("long", "rouge1"), ("long", "meteor"), ("long", "words"), ("title", "rouge1"), ("rating", "mae"))
    shown = [(task, metric) for task, metric in columns if all(task in tasks for tasks in results["variants"].values())]
    lines = [f"| `{results['provenance']['method']}` with | {' | '.join(' '.join(pair) for pair in shown)} |", f"|---|{'--:|' * len(shown)}"]
    for settings, tasks in results["variants"].items():
        cells = []
        for task, metric in shown:
            cell, change = f"{tasks[task]['variant'][metric]['value']:.3f}", tasks[task]["minus_base"][metric]
            cells.append(cell if change["low"] == change["high"] == 0 else f"{cell} ({_signed_entry(change)})")
        lines.append(f"| {settings if ' ' in settings and '=' not in settings else f'`{settings}`'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def style_table() -> str:
    """Who is found by style and who by topic: MRR of a user's other half, and the line-up against other people's reviews of the same item."""
    lines = ["| users with ≥ 4 reviews | n | chance MRR | TF-IDF MRR | style MRR | style hit@10 | one review each: TF-IDF MRR | style MRR |"]
    lines[0] += " line-up, TF-IDF | style |"
    lines.append(f"|---|{'--:|' * 9}")
    for name, found in _results("style")["sets"].items():
        if name != "harbour":
            halves, one, line_up = found["halves"], found["one_review"], found["line_up"]
            entries = [halves["tfidf"]["mrr"], halves["style"]["mrr"], halves["style"]["hit@10"], one["tfidf"]["mrr"], one["style"]["mrr"]]
            entries += [line_up["tfidf"], line_up["style"]]
            lines.append(f"| {name} | {found['users']} | {halves['chance']['mrr']:.3f} | {' | '.join(map(_cell, entries))} |")
    return "\n".join(lines)


def traits_table() -> str:
    """Correlation of harbour's latent traits between a person and the five people found for them."""
    found = _results("style")["sets"]["harbour"]
    shown = [trait for trait in found["style"] if max(found[space][trait]["value"] for space in ("style", "tfidf")) > 0.3]
    lines = [f"| found by | {' | '.join(shown)} |", f"|---|{'--:|' * len(shown)}"]
    for space in ("style", "tfidf", "random"):
        entries = [found[space][trait] for trait in shown]
        lines.append(f"| {space} | {' | '.join(_bounded(e) for e in entries)} |")
    return "\n".join(lines)


def _bounded(entry: dict[str, float]) -> str:
    return f"{entry['value']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"


def bits_table(*names: str) -> str:
    """Bits per byte by data set, model and method, one column a task; behind the first method's the paired difference from it."""
    lines = ["| set | model | method | text | title | rating |", "|---|---|---|--:|--:|--:|"]
    for name in names:
        for model, found in _results(name if "/" in name else f"bits/{name}")["models"].items():
            differences = {(pair["method"], pair["task"]): pair for pair in found["pairs"] if pair["metric"] == "bits"}
            for method, tasks in found["methods"].items():
                cells = []
                for task in ("long", "title", "rating"):
                    pair = differences.get((method, task))
                    behind = "" if pair is None else f" ({_signed_entry({**pair, 'value': pair['difference']})})"
                    cells.append(f"{tasks[task]['bits']['value']:.3f}{behind}" if task in tasks else "–")
                lines.append(f"| {name} (n = {found['n']}) | `{model}` | `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def kinds_table(*names: str) -> str:
    """Bits per byte of the real texts behind each kind of prompt or path, and the paired difference from the usual one; two columns a record."""
    records = {name: _results(name) for name in names}
    minus = next(key for key in records[names[0]] if key.startswith("minus "))
    heads = " | ".join(f"{name} · n = {found['n']}: bits per byte | {minus}" for name, found in records.items())
    lines = [f"| | {heads} |", f"|---|{'--:|--:|' * len(records)}"]
    for kind in records[names[0]]["bits"]:
        is_usual = kind == minus.removeprefix("minus ")
        cells = [f"{found['bits'][kind]['value']:.3f} | {'–' if is_usual else _signed_entry(found[minus][kind])}" for found in records.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def swap_table(*names: str) -> str:
    """Bits that the right evidence saves against the wrong one, by data set, model, method and task; a name with a slash is that of a whole run."""
    columns = [(task, evidence) for task in ("long", "title", "rating") for evidence in ("own reviews", "neighbours")]
    lines = [f"| set | model | method | {' | '.join(f'{task}: {evidence}' for task, evidence in columns)} |", f"|---|---|---|{'--:|' * len(columns)}"]
    for name in names:
        run = _results(name) if "/" in name else {}
        for model, found in {run["provenance"]["model"]: run}.items() if run else _results(f"bits/{name}")["models"].items():
            for method, tasks in found["swap"].items():
                cells = [_share(tasks.get(task, {}).get(evidence)) for task, evidence in columns]
                lines.append(f"| {name} | `{model}` | `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(entry: dict[str, Any] | None) -> str:
    """A saving in per cent with its interval and number of targets; a dash where nothing was swapped."""
    if entry is None:
        return "–"
    bounds = "" if entry["low"] is None else f" [{entry['low']:+.1%}, {entry['high']:+.1%}]"
    text = f"{entry['value']:+.1%}{bounds}"
    is_clear = entry["low"] is not None and (entry["low"] > 0 or entry["high"] < 0)
    return f"{f'**{text}**' if is_clear else text}, n = {entry['n']}"


TABLES: dict[str, Callable[..., str]] = {
    "ablations": ablations_table,
    "alignment": alignment_table,
    "bits": bits_table,
    "boilerplate": boilerplate_table,
    "alignment-examples": examples_list,
    "consensus": consensus_table,
    "votes": votes_table,
    "losses": losses_table,
    "luck": luck_table,
    "notes": notes_table,
    "kinds": kinds_table,
    "plan": plan_table,
    "preference": preference_table,
    "prefill": prefill_line,
    "rounds": rounds_table,
    "rounds-by-likelihood": likelihood_rounds_table,
    "seeds": seeds_table,
    "spending": spending_table,
    "steps": steps_table,
    "style": style_table,
    "summary": summary_table,
    "swap": swap_table,
    "traits": traits_table,
    "selection": selection_table,
    "titles": titles_table,
    "variants": variants_table,
    "methods": methods_table,
    "provenance": provenance_line,
    "differences": differences_table,
    "cost": cost_table,
    "zero-history": zero_history_table,
}


def rewrite(text: str) -> str:
    """The text with every block filled anew."""

    def fill(match: re.Match[str]) -> str:
        table = TABLES[match["name"]](*match["arguments"].split())
        return f"{match[1]}{table}\n{match[4]}"

    return BLOCK.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 where a table is out of date")
    arguments = parser.parse_args()
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        after = rewrite(before)
        if after != before:
            stale.append(path.relative_to(ROOT).as_posix())
            if not arguments.check:
                path.write_text(after, encoding="utf-8")
    print("\n".join(stale) or "all tables are up to date")
    sys.exit(1 if stale and arguments.check else 0)


if __name__ == "__main__":
    main()
