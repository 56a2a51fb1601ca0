"""Probes: small classifiers of hidden states. A new one is one file beside this and one line here."""

from microtome.analysis.probing.probes.bilstm_crf import BilstmCrfProbe
from microtome.analysis.probing.probes.linear import LinearProbe
from microtome.analysis.probing.probes.mlp import MlpProbe
from microtome.analysis.probing.probes.probe import OPTIONAL, FitSettings, Probe, ProbeSettings
from microtome.analysis.probing.probes.svm import SvmProbe

__all__ = ["OPTIONAL", "PROBES", "FitSettings", "Probe", "ProbeSettings"]

PROBES: dict[str, type[Probe]] = {
    "linear": LinearProbe,
    "svm": SvmProbe,
    "mlp": MlpProbe,
    "bilstm-crf": BilstmCrfProbe,
}
