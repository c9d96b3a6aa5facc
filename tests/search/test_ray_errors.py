"""Of an error of Ray its cause is told; the texts are Ray's own, as it raised them."""

import pytest

from study.search.ray_errors import RAISED, cause_of

UNAUTHENTICATED = (
    "RPC error: InvalidAuthToken: Authentication token is missing or incorrect. Ensure that the "
    "token for the cluster is available in a local file (e.g., ~/.ray/auth_token or via "
    "RAY_AUTH_TOKEN_PATH) or as the `RAY_AUTH_TOKEN` environment variable. To generate a token for "
    "local development, use `ray get-auth-token --generate` For remote clusters, ensure that the "
    "token is propagated to all nodes of the cluster when token authentication is enabled. For "
    "more information, see: https://docs.ray.io/en/latest/ray-security/token-auth.html"
)
ACTOR_DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: A
\tactor_id: a5e4482159210c25fd9ec77d01000000
\tpid: 1244
\tnamespace: 5116b93f-bbf1-4446-8964-0a9efbf57724
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common causes \
include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop \
--force was called, or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected \
error."""
CREATION = """The actor died because of an error raised in its creation task, \
\x1b[36mray::A.__init__()\x1b[39m (pid=1312, ip=192.0.2.2, actor_id=d021f60256e2)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "head.py", line 12, in __init__
    if fail: raise RuntimeError("CUDA error: device-side assert")
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
RuntimeError: CUDA error: device-side assert"""
TASK = """\x1b[36mray::bad()\x1b[39m (pid=1166, ip=192.0.2.2)
  File "head.py", line 7, in bad
    def bad(): raise ValueError("a cause\\nin two lines")
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ValueError: a cause
in two lines"""
TEXTS = {
    UNAUTHENTICATED: "Authentication token is missing or incorrect",
    "RPC error: Received http2 header with status: 404": "Received http2 header with status: 404",
    "Timed out while waiting for GCS to become available.": "Timed out while waiting for GCS to "
    "become available",
    ACTOR_DIED: "The actor died unexpectedly before finishing this task",
    CREATION: "RuntimeError: CUDA error: device-side assert",
    TASK: "ValueError: a cause",
    "Ray 2.60.0 differs from 2.9 at 192.0.2.2:6379. Use one.": "Ray 2.60.0 differs from 2.9 at "
    "192.0.2.2:6379",
    "ray:: nothing was raised. At all.": "ray:: nothing was raised",
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_cause_is_cut_out_of_what_ray_says(text: str):
    assert cause_of(text) == TEXTS[text]


def test_addresses_and_codes_of_a_call_are_left_out():
    text = (
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:192.0.2.2:6379: Failed to "
        "connect to remote host: Connection refused; RPC Error details:  rpc_code: 14"
    )
    assert cause_of(text).endswith("Failed to connect to remote host: Connection refused")
    assert "rpc" not in cause_of(text).lower()


def test_an_error_without_words_has_its_kind():
    assert cause_of(TimeoutError()) == "TimeoutError"


def test_only_a_traceback_counts_as_one():
    assert RAISED not in ACTOR_DIED
