"""The probes by name. A probe is one file here and one line in this table."""

from microtome.analysis.probing.probes.probe import OPTIONAL, FitSettings, Probe, ProbeSettings
from microtome.store.lazy import LazyImport, LazyTable

__all__ = ["OPTIONAL", "PROBES", "FitSettings", "Probe", "ProbeSettings"]

_HERE = "microtome.analysis.probing.probes"

# The line about each probe is the first of its docstring: help shows it without scikit-learn.
PROBES: LazyTable[type[Probe]] = LazyTable(
    {
        "linear": LazyImport(
            f"{_HERE}.linear:LinearProbe",
            "Linear model with an L2 penalty: logistic regression of classes, ridge regression of numbers.",
        ),
        "svm": LazyImport(
            f"{_HERE}.svm:SvmProbe",
            "Support-vector machine with a radial kernel: the inference probe of Bonfigli et al. (2024).",
        ),
        "mlp": LazyImport(
            f"{_HERE}.mlp:MlpProbe",
            "Network with one hidden layer of rectified units, trained with Adam.",
        ),
        "bilstm-crf": LazyImport(
            f"{_HERE}.bilstm_crf:BilstmCrfProbe",
            "Bidirectional LSTM with a CRF over the words of sentences: "
            "tagging probe of Bonfigli et al. (2024).",
        ),
    }
)
