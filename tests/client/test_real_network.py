"""No submit is paid twice over a real link that is cut and mended while it is on its way.

Each test makes two network namespaces with a link between them. `make network` runs all of it with the usual times of a
client, which takes minutes; here the times are shorter.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import trustme

from tests.support.real_network import FAR, Plan

IN_FULL = bool(os.environ.get("REAL_NETWORK_IN_FULL"))

PLANS = (
    [Plan(away, how) for away in (5.0, 20.0, 27.0, 35.0, 60.0, 90.0) for how in ("dead", "mute")]
    if IN_FULL
    else [
        # Lost segments are sent again after 0.2, 0.6, 1.4, 3.0, 6.2 s: long after the search for a lost submit.
        Plan(
            away_s=3.5,
            how=how,
            timeout_s=2.0,
            grace_s=1.0,
            sizes=("text", "image"),
            ways=("time-out", "cancel"),
            moments=(-0.02, 1.0),
            settle_s=5.0,
        )
        for how in ("dead", "mute")
    ]
)


def refusal() -> str | None:
    """Return why this machine can have no namespace of its own; None when it can."""
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None or shutil.which("tc") is None:
        return "needs Linux with unshare and tc (Debian: util-linux, iproute2)"
    probe = (
        "mount -t tmpfs tmpfs /run && ip link add name a0 type veth peer name b0 && tc qdisc add dev a0 root blackhole"
    )
    done = subprocess.run([unshare, "-rnm", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


REFUSAL = refusal()


@pytest.mark.skipif(REFUSAL is not None, reason=str(REFUSAL))
@pytest.mark.timeout(600)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.how} for {plan.away_s:g} s")
def test_no_submit_is_paid_twice_while_the_link_is_away(plan: Plan, tmp_path: Path) -> None:
    """Nor does one count as not created that comes later."""
    authority = trustme.CA()
    authority.issue_cert(FAR).private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    command = ["unshare", "-rnm", sys.executable, "-m", "tests.support.real_network", "near", str(tmp_path)]
    done = subprocess.run(
        [*command, json.dumps(asdict(plan))],
        env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "authority.pem")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results
    twice = [result for result in results if result["created"] > 1]
    late = [result for result in results if result["outcome"] == "not created" and result["created"]]
    lost = [result for result in results if result["outcome"] == "task" and not result["created"]]
    assert (twice, late, lost) == ([], [], [])
