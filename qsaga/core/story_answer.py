"""The part of a job's story that says what was answered, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator

from qsaga.core.applied import options_text
from qsaga.core.confidence import PROBLEM
from qsaga.core.results import (
    Confidence,
    EstimateAnswer,
    JobResult,
    OptimiseAnswer,
    Provenance,
    Quality,
    SampleAnswer,
    applied_of,
)
from qsaga.core.words import joined, number, sentence

BOUND_TOLD = (Confidence.PROVEN_OPTIMAL, Confidence.BOUNDED_GAP)
TOLD = 4
"""Values or outcomes told of an answer that has more."""


def answer_sentences(result: JobResult) -> Iterator[str]:
    """What was answered, from where, and what speaks for it; nothing if there is no answer."""
    match result.answer:
        case OptimiseAnswer() as answer:
            yield sentence(f"The answer is {answer.quality.objective:g}: {answer.explanation}")
            yield from _quality(answer.quality)
        case SampleAnswer() as answer:
            for name, counts in answer.counts.items():
                most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOLD]
                told = joined([f"{bits} ({number(count, 'time')})" for bits, count in most])
                yield f"Of {number(answer.shots, 'shot')}, register {name} most often read {told}."
            if answer.confidence is Confidence.UNVERIFIED:
                yield "Nothing was run that these counts could be checked against."
            else:
                yield "These are counts as they were measured, and they scatter as counts do."
            if answer.half_width is not None:
                yield (
                    f"By chance alone a frequency is within {answer.half_width:.2g} of the "
                    "probability, 95 times of 100."
                )
            if answer.distance is not None:
                far = answer.distance
                yield (
                    f"They are {far.total_variation:.2g} in total variation from what the circuit "
                    f"shows without noise; by chance alone it would be about {far.chance:.2g}."
                )
        case EstimateAnswer() as answer:
            pairs = list(zip(answer.values, answer.standard_errors, strict=False))
            told = joined([f"{value:.5g} ± {error:.2g}" for value, error in pairs[:TOLD]])
            more = f" and {len(pairs) - TOLD} more" if len(pairs) > TOLD else ""
            yield f"The values are {told}{more}, each with its standard error."
            if answer.confidence is Confidence.UNVERIFIED:
                yield "Nothing was run that these values could be checked against."
    if result.answer is not None and result.provenance is not None:
        yield from _about_noise(result.provenance)
        yield _source(result.provenance)


def _about_noise(source: Provenance) -> Iterator[str]:
    said = applied_of(source)
    if said is None or not said.asked:
        return
    yield f"About the noise of the device it was asked for {options_text(said.asked)}."
    if said.mitigated:
        yield "The provider says that it mitigated errors."
    elif said.note:
        yield sentence(said.note[:1].upper() + said.note[1:])
    elif said.applied is not None:
        yield f"The provider says that it did this: {options_text(said.applied)}."


def _quality(quality: Quality) -> Iterator[str]:
    larger = quality.sense == "maximise"
    beyond, baseline = "above" if larger else "below", quality.baseline
    yield f"Its {'largest' if larger else 'smallest'} value was looked for."
    match quality.confidence:
        case Confidence.PROVEN_OPTIMAL if quality.bound is not None:
            yield (
                f"It is proven to be the best there is: none can be {beyond} {quality.bound:g}"
                f"{_by(quality)}."
            )
        case Confidence.PROVEN_OPTIMAL:
            yield "It is proven to be the best there is."
        case Confidence.BOUNDED_GAP if quality.bound is not None and quality.gap is not None:
            yield (
                f"None can be {beyond} {quality.bound:g}{_by(quality)}, so it is at most "
                f"{quality.gap:g} from the best there is."
            )
        case Confidence.BETTER_THAN_BASELINE if baseline is not None:
            yield f"It is better than {baseline:g}, which a simple greedy construction finds."
        case Confidence.UNVERIFIED:
            yield "How good it is was not checked."
        case _ if quality.feasible and baseline is not None:
            yield (
                f"It meets every constraint; a simple greedy construction finds {baseline:g}, "
                "and nothing better is shown."
            )
        case _ if quality.feasible:
            yield "It meets every constraint; nothing more is known of it."
        case _:
            yield "It does not meet every constraint."
    if quality.bound is not None and quality.confidence not in BOUND_TOLD:
        yield f"No answer can be {beyond} {quality.bound:g}."
    if quality.raw_best is not None:
        yield f"The best sample as it was measured had {quality.raw_best:g}."
    if quality.feasible_share is not None:
        yield f"Of the samples as measured {quality.feasible_share:.1%} met every constraint."


def _by(quality: Quality) -> str:
    known = quality.bound_by not in (None, PROBLEM)
    return f", as {quality.bound_by} shows" if known else ""


def _source(source: Provenance) -> str:
    where = source.provider + (f", {source.backend}" if source.backend else "")
    shots = f", {number(source.shots, 'shot')}" if source.shots is not None else ""
    jobs = ", remote job " + joined(source.provider_job_ids) if source.provider_job_ids else ""
    return f"It came from {source.source.value} ({where}{shots}{jobs})."
