"""An application: a maximum cut, answered with its provenance, whatever happens on the way.

python examples/application.py            (a worker must be running: see examples/README.md)
"""

import asyncio

from qsaga.client import QsagaClient
from qsaga.core.jobs import Budgets, JobRequest, Optimise, Problem
from qsaga.core.results import OptimiseAnswer

RING = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["e", "a"], ["a", "c", 2.0]]


async def main() -> None:
    """Start the job, or find it: the key makes it the same job however often this runs."""
    request = JobRequest(
        tenant="examples",
        key="ring-1",
        workload=Optimise(problem=Problem(name="maxcut", data={"edges": RING})),
        budgets=Budgets(deadline=300, queue=60, solve=1),
    )
    client = await QsagaClient.connect()
    job = await client.start(request)
    async for progress in job.watch():
        print(progress.job.state.value)
    result = await job.result()
    if not isinstance(result.answer, OptimiseAnswer) or result.provenance is None:
        raise SystemExit(f"no answer: {result.unanswered}")
    source, cost = result.provenance, result.cost
    print(result.answer.explanation)
    print(f"{result.state}: answered by {source.source} ({source.provider}), seed {source.seed}")
    print(f"{cost.quantum_seconds:g} quantum seconds, {cost.money} {cost.currency}")


if __name__ == "__main__":
    asyncio.run(main())
