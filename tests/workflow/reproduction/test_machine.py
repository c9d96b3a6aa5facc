"""The machine and the installation, without the names of either."""

import getpass
import socket
from pathlib import Path

from study.workflow.reproduction.machine import describe_machine


def test_they_are_described_without_names_and_folders():
    facts = describe_machine()
    assert {"processor", "cores", "GPUs", "commit", "code", "torch", "ray"} <= set(facts)
    assert all(facts.values())
    text = " ".join(facts.values())
    assert str(Path.home()) not in text.replace("/ ", "")
    for name in {socket.gethostname(), getpass.getuser()} - {"root"}:
        assert name not in text.split()
