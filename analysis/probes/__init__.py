"""Probes: small classifiers of hidden states. A new one is one file beside this and one line here."""

from analysis.probes.linear import LinearProbe
from analysis.probes.probe import Probe

PROBES: dict[str, type[Probe]] = {
    "linear": LinearProbe,
}
