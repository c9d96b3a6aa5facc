"""The machine and the installation, without names."""

import getpass
import socket

from study.workflow.reproduction.machine import describe_machine


def test_they_are_described_without_names():
    facts = describe_machine()
    assert {"processor", "cores", "GPUs", "commit", "code", "torch"} <= set(facts)
    assert all(facts.values())
    names = {socket.gethostname(), getpass.getuser()} - {"root"}
    assert not names & set(" ".join(facts.values()).split())
