"""Problems that were encoded before."""

from __future__ import annotations

import asyncio

from temporalio import activity

from qsaga.core.caching import Shelf, WorkCache, shelf_of
from qsaga.core.contract import ArtefactRef, canonical_json, digest
from qsaga.core.jobs import Optimise
from qsaga.core.lineage import input_digest
from qsaga.core.ports import ArtefactStore
from qsaga.core.steps import Encoded, EncodeInput, EncodeStep
from qsaga.problems import registry


class EncodeOnce(EncodeStep):
    """Encodes a tenant's problem once, for all of his jobs with the same input.

    Circuits that users supply are only read, which takes less than to look them up.

    Args:
        encode: does the work.
        artefacts: where it leaves models and circuits.
        cache: what was made before; None encodes each time.
        ansatz: version of what builds circuits.
        reduction: version of what reduces models; empty where nothing does.
    """

    def __init__(
        self,
        encode: EncodeStep,
        artefacts: ArtefactStore,
        cache: WorkCache | None,
        ansatz: str,
        reduction: str = "",
    ) -> None:
        self._encode, self._artefacts, self._cache = encode, artefacts, cache
        self._ansatz, self._reduction = ansatz, reduction

    @activity.defn(name="encode")
    async def encode(self, given: EncodeInput) -> Encoded:
        """The same as without a cache, said to be from it."""
        shelf = shelf_of(self._cache, given.tenant)
        if shelf is None or not isinstance(given.workload, Optimise):
            return await self._encode.encode(given)
        key = self._key(given, given.workload)
        found = await asyncio.to_thread(self._found, shelf, key)
        if found is None:
            encoded = await self._encode.encode(given)
            await asyncio.to_thread(shelf.put, key, encoded.model_dump_json().encode())
            return encoded
        spec = found.spec.model_copy(update={"max_seconds": given.max_seconds})
        return found.model_copy(update={"spec": spec, "from_cache": True})

    def _key(self, given: EncodeInput, workload: Optimise) -> str:
        kind = registry.get(workload.problem.name)
        circuit = self._ansatz if given.circuit_wanted else None
        versions = [kind.formulation, registry.PREPROCESSING, circuit]
        if given.reduction:  # what was kept before there were any stays found
            versions += [given.reduction, self._reduction]
        return digest("encoded", input_digest(workload), canonical_json(versions))

    def _found(self, shelf: Shelf, key: str) -> Encoded | None:
        kept = shelf.get(key)
        if kept is None:
            return None
        try:
            encoded = Encoded.model_validate_json(kept)
            for ref in filter(None, (encoded.model, encoded.circuit, encoded.reduction)):
                self._used_again(ref)
        except (KeyError, ValueError):  # of another release, or deleted since
            return None
        return encoded

    def _used_again(self, ref: ArtefactRef) -> None:
        # Put once more, it is kept from whoever deletes what an earlier job has left.
        self._artefacts.put(self._artefacts.get(ref), ref.media)
