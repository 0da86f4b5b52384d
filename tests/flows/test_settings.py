"""schemas/settings.json names what the programs' --help shows: one left out there would be reported as unknown to all others."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("SWITCHBOARD_BUILD", ROOT / "build")) / "bin"
DAEMONS = ["ingest", "transcribe", "analyze", "notifier"]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_list_knows_each_setting_and_its_daemons(daemon):
    program = BIN / daemon
    assert program.exists(), f"{program} is not built"
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    shown = set(re.findall(r"^  ([A-Z][A-Z0-9_]+) ", text, re.M)) - {"SIGTERM"}
    listed = json.loads((ROOT / "schemas/settings.json").read_text(encoding="utf-8"))["settings"]
    assert shown == {s["name"] for s in listed if daemon in s["daemons"] and not s["name"].endswith("*")}
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("region,said,code", [("GB", "ok   numbers without a country are read as of GB", 0),
                                              ("UK", "bad  DEFAULT_REGION is UK; it takes the two letters that ISO 3166 gives a country", 1)])
def test_the_check_knows_the_countries_of_numbers(schema_ready, tmp_path, region, said, code):
    names = {"PATH": os.environ["PATH"], "DATABASE_URL": schema_ready.database_url, "KAFKA_BROKERS": schema_ready.brokers}
    checked = subprocess.run([BIN / "ingest", "--check"], env={**names, "DEFAULT_REGION": region}, cwd=tmp_path, capture_output=True, text=True)
    assert said in checked.stdout and checked.returncode == code, checked.stdout + checked.stderr
