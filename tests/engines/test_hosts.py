from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.engines.hosts import Hosts, Laptop
from tests.waiting import until

BOOT = "/proc/sys/kernel/random/boot_id"


def ssh(hosts: Hosts, *words: str, limit_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    argv = ["timeout", str(limit_s), "ssh", *words]
    return subprocess.run(hosts.command("laptop", argv), capture_output=True, text=True)


def test_hosts_reach_each_other_by_name_and_check_the_key(hosts: Hosts) -> None:
    done = ssh(hosts, "gpu1", "hostname; id --user; pwd")
    assert done.stdout.split() == ["gpu1", "0", "/root"], done.stderr
    known = hosts.home("laptop") / ".ssh" / "known_hosts"
    kept = known.read_text()
    try:
        other = next(line for line in kept.splitlines() if line.startswith("gpu2,"))
        known.write_text(f"gpu1,{hosts.address('gpu1')} {other.partition(' ')[2]}\n")
        changed = ssh(hosts, "gpu1", "true")
    finally:
        known.write_text(kept)
    assert changed.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in changed.stderr


def test_what_a_host_has_is_its_own(hosts: Hosts) -> None:
    for host in ("laptop", "gpu1"):
        made = hosts.run(host, "sh", "-c", f"echo {host} | tee /tmp/own /run/own /root/own")
        assert made.code == 0, made.err
    assert hosts.run("laptop", "cat", "/tmp/own", "/run/own", "/root/own").out == "laptop\n" * 3
    assert not Path("/tmp/own").exists()
    assert (hosts.home("gpu1") / "own").read_text() == "gpu1\n"
    boots = {hosts.run(host, "cat", BOOT).out for host in ("laptop", "gpu1", "gpu2", "bare")}
    assert len(boots) == 4


def test_ada_is_an_ordinary_user_in_the_group_docker(hosts: Hosts) -> None:
    there = hosts.run("laptop", "ssh", "gpu1", "id; pwd; touch /root/x", user="ada")
    assert "uid=1000(ada)" in there.out
    assert "(docker)" in there.out
    assert "/home/ada" in there.out
    assert there.code != 0
    assert "Permission denied" in there.err


def test_grace_needs_a_key_and_a_password(hosts_here: Hosts) -> None:
    words = ["ssh", "-o", "BatchMode=yes", "grace@gpu1", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "Permission denied (password)" in done.stderr


def test_a_cut_network_says_nothing_and_carries_on(hosts: Hosts) -> None:
    words = ["ssh", "gpu1", "for i in $(seq 40); do echo $i; sleep 0.05; done"]
    with subprocess.Popen(
        hosts.command("laptop", words), stdout=subprocess.PIPE, text=True
    ) as reading:
        assert reading.stdout is not None
        assert reading.stdout.readline() == "1\n"
        hosts.cut("gpu1")
        try:
            assert ssh(hosts, "gpu1", "true", limit_s=1.0).returncode == 124
            assert hosts.run("gpu1", "ping", "-c1", "-W1", "laptop").code != 0
        finally:
            hosts.mend("gpu1")
        assert len(reading.stdout.readlines()) == 39
        assert reading.wait(20) == 0


def test_a_host_without_power_is_silent_and_comes_back_as_another_boot(hosts: Hosts) -> None:
    before = hosts.run("gpu1", "cat", BOOT).out
    with subprocess.Popen(hosts.command("gpu1", ["sleep", "600"])) as sleeping:
        hosts.run("gpu1", "sh", "-c", "echo kept > /root/kept; echo lost > /run/lost")
        hosts.kill("gpu1")
        assert sleeping.wait(60) != 0
    assert ssh(hosts, "gpu1", "true", limit_s=1.0).returncode == 124
    hosts.start("gpu1")
    assert hosts.run("gpu1", "cat", "/root/kept").out == "kept\n"
    assert hosts.run("gpu1", "cat", "/run/lost").code != 0
    assert hosts.run("gpu1", "cat", BOOT).out != before
    assert ssh(hosts, "gpu1", "true").returncode == 0


def test_an_engine_runs_again_with_its_containers_after_a_loss_of_power(hosts: Hosts) -> None:
    hosts.engine("gpu1", "old")
    words = ("docker", "run", "--detach", "--restart=always", "--name=perdure-tests-hosts")
    made = hosts.run("gpu1", *words, "debian:bookworm-slim", "sleep", "600", user="ada")
    assert made.code == 0, made.err
    try:
        hosts.kill("gpu1")
        hosts.start("gpu1")
        shown = ("docker", "inspect", "--format={{.State.Running}}", "perdure-tests-hosts")
        until(lambda: hosts.run("gpu1", *shown, user="ada").out == "true\n", every_s=0.1)
    finally:
        hosts.run("gpu1", "docker", "rm", "--force", "perdure-tests-hosts")


def test_a_modern_engine_answers_beside_it(hosts: Hosts) -> None:
    hosts.engine("gpu2", "modern")
    words = ("docker", "version", "--format={{.Server.Version}}")
    seen = hosts.run("laptop", "ssh", "gpu2", *words, user="ada")
    assert seen.out.startswith("26."), seen.err
    hosts.engine("gpu2", "none")
    assert hosts.run("laptop", "ssh", "gpu2", *words, user="ada").code != 0


def test_bare_has_no_python(hosts: Hosts) -> None:
    assert ssh(hosts, "bare", "command -v python3 || ls /usr/bin/python3").returncode != 0
    assert ssh(hosts, "bare", "cat /etc/hostname").stdout == "bare\n"


def test_this_process_reaches_them_too_and_from_far_away(hosts_here: Hosts) -> None:
    done = subprocess.run(["ssh", "ada@gpu1-rtt60", "whoami"], capture_output=True, text=True)
    assert done.stdout == "ada\n", done.stderr
    master = ["ssh", "-o", "ControlPath=/tmp/perdure-tests-hosts-%C", "gpu1-rtt60"]
    held = [*master[:1], "-o", "ControlMaster=auto", "-o", "ControlPersist=20", *master[1:]]
    subprocess.run([*held, "true"], check=True, timeout=120)
    try:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([*master, "true"], check=True, timeout=120)
            took.append(time.perf_counter() - began)
    finally:
        subprocess.run([*master, "-O", "exit"], capture_output=True)
    assert min(took) > 0.06


def test_a_limited_network_is_slower(hosts_here: Hosts) -> None:
    hosts_here.limit("gpu2", "80mbit")
    try:
        began = time.perf_counter()
        send = ["ssh", "gpu2", "cat > /dev/null"]
        subprocess.run(send, input=bytes(10_000_000), check=True, timeout=120)
        assert time.perf_counter() - began > 0.7
    finally:
        hosts_here.limit("gpu2", "none")


def test_a_small_disk_fills_up(hosts: Hosts) -> None:
    path = hosts.small("gpu1") / "fill"
    filled = hosts.run("gpu1", "dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=100")
    hosts.run("gpu1", "rm", str(path))
    assert filled.code != 0
    assert "No space left" in filled.err


def test_perdure_runs_on_the_laptop_as_an_ordinary_user(laptop: Laptop) -> None:
    assert laptop.perdure("--version").out.startswith("perdure "), laptop.perdure("--version").err
    laptop.configure("")
    assert laptop.run("whoami").out == "ada\n"
    assert laptop.run("touch", "mine").code == 0
    assert laptop.run("ssh", "gpu1", "whoami").out == "ada\n"
