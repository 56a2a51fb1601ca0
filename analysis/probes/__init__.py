"""Probes: small classifiers of hidden states. A new one is one file beside this and one line here."""

from analysis.probes.bilstm_crf import BilstmCrfProbe
from analysis.probes.linear import LinearProbe
from analysis.probes.mlp import MlpProbe
from analysis.probes.probe import NETWORK, Probe, ProbeSettings
from analysis.probes.svm import SvmProbe

__all__ = ["NETWORK", "PROBES", "Probe", "ProbeSettings"]

PROBES: dict[str, type[Probe]] = {
    "linear": LinearProbe,
    "svm": SvmProbe,
    "mlp": MlpProbe,
    "bilstm-crf": BilstmCrfProbe,
}
