"""How much memory a job may need, so that jobs that would not fit together are not started together.

An estimate from sizes on disk, a little high. What cannot be known, such as weights that are still to be
downloaded, counts as nothing beyond what every process takes.
"""

from microtome.jobs.kinds import kind_named
from microtome.jobs.kinds.job import AnyJob
from microtome.jobs.models.source import ModelSource
from microtome.jobs.run.resources import processes_of
from microtome.store.artifacts.store import Artifact, Store
from microtome.store.cache.description import CacheDescription
from microtome.store.errors import MicrotomeError

PROCESS = 1 << 30  # Python with torch and transformers
ANALYSIS = 1 << 29  # Python with numpy and scipy
# Times the weights: themselves and the gradient, two moments of the optimiser, those of the best epoch and
# of the start; and three more in a state that is being written.
TRAINING = 9
RUNNING = 2
WIDENED = 4  # times a float16 layer: in float32, and once more standardised
STEP = 1 << 28  # estimates are rounded up, so that like jobs ask for the same


def expected_memory(job: AnyJob, store: Store) -> int:
    """Bytes of main memory."""
    kind, model = kind_named(job.kind), job.sources.start
    try:
        if model is not None:
            copies = TRAINING if kind.stage == "training" else RUNNING
            more = processes_of(job.config) - 1  # which all load the model before they keep their parts
            size = PROCESS * (1 + more) + (copies + RUNNING * more) * weights_bytes(model, store)
        elif kind.stage == "analysis":
            size = ANALYSIS + sum(WIDENED * _layer(store.open(need)) for need in job.needs)
        else:
            size = PROCESS
    except MicrotomeError:
        size = PROCESS
    return -(-size // STEP) * STEP


def weights_bytes(model: ModelSource, store: Store) -> int:
    """Of a model on this disk, or of its artifact in the store; 0 of one that is still to be downloaded or
    made."""
    if model.artifact is not None:
        return store.open(model.artifact).bytes()
    if model.path is not None:
        return sum(path.stat().st_size for path in model.path.glob("*.safetensors"))
    return 0


def _layer(cache: Artifact) -> int:
    """Of a cache about what its largest layer takes: they are read one by one."""
    return cache.bytes() // max(CacheDescription.of(cache).layout.layers, 1)
