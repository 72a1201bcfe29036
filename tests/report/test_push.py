"""Reports go to a folder or to a hub that speaks the hub's protocol, and what arrives is compared byte by byte."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from evaluated_store import FOUND, FRAMES, cars, run

from harness.cli import main
from harness.core.store import Store
from harness.metrics.frame_statistics import load
from harness.results.sources import find


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def measured(tmp_path: Path) -> list[str]:
    return run(cars(tmp_path / "tree"), tmp_path / "a", seeds=[0, 1], found=FOUND)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_gets_everything_and_again_what_is_new(capsys, tmp_path, measured):
    suite, options, target = measured[0], measured[1:], tmp_path / "published"
    assert command("push", suite, target, *options, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    folder = target / "one-smoke"
    assert said["where"] == str(folder) and said["files"] == len(hashes(folder)) - 1
    listed = json.loads((folder / "contents.json").read_text())["files"]
    assert {name: sha for name, (_, sha) in listed.items()} == {
        name: sha for name, sha in hashes(folder).items() if name != "contents.json"
    }
    assert {"README.md", "report.html", "rows.json", "table.md", "table.tex"} <= listed.keys()
    (folder / "stale.txt").write_text("from an older push")
    assert command("push", suite, target, *options) == 0
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in target.iterdir()] == ["one-smoke"]
    assert not list((tmp_path / "a" / "reports").glob(".*"))


def test_pushed_rows_bring_their_statistics_along(tmp_path, measured):
    command("push", measured[0], tmp_path / "published", *measured[1:])
    shutil.rmtree(tmp_path / "a")
    rows = tmp_path / "published" / "one-smoke" / "rows.json"
    found = find(str(rows), Store(tmp_path / "none"), lambda suite: pytest.fail(suite))
    known = [load(folder) for run in found.rows[0].seeds if (folder := found.statistics(run))]
    assert [len(one.images) for one in known] == [FRAMES, FRAMES]
    means = [one.scores(np.ones((1, FRAMES)), names=["AP"])["AP"][0] for one in known]
    assert np.mean(means) == pytest.approx(found.rows[0].scores["AP"])


def test_what_cannot_be_pushed_is_told(capsys, tmp_path, measured):
    assert command("push", "table1", tmp_path / "p", "--store", tmp_path / "empty") == 2
    assert "no row is measured" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert command("push", measured[0], tmp_path / "file", *measured[1:]) == 2
    assert "cannot be written" in capsys.readouterr().err


class Hub(ThreadingHTTPServer):
    """The part of the hub's protocol that an upload needs; it keeps files in memory and may spoil one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.spoilt = ""


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, content: object, code: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self) -> None:
        text = self.body()
        if self.path.startswith("/api/repos/create"):
            self.answer({"url": f"http://{self.headers['Host']}/datasets/me/results", "id": "me/results"})
        elif self.path.endswith("/validate-yaml"):
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(text)["files"]
            self.answer(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, text.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    data = base64.b64decode(value["content"])
                    self.server.files[value["path"]] = data
                elif line["key"] == "deletedFile":
                    self.server.files.pop(value["path"])
                else:
                    self.server.commits.append(value["summary"])
            self.answer(
                {
                    "commitOid": "0" * 40,
                    "commitUrl": f"http://{self.headers['Host']}/datasets/me/results/commit/1",
                    "success": True,
                }
            )
        else:
            self.answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        if "/tree/" in self.path:
            found = []
            for path, data in self.server.files.items():
                data = data + b"x" if path.endswith(self.server.spoilt or "\0") else data
                oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                found.append({"type": "file", "path": path, "size": len(data), "oid": oid})
            self.answer(found)
        else:
            self.answer(
                {"id": "me/results", "sha": "0" * 40, "siblings": [{"rfilename": one} for one in self.server.files]}
            )


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub")
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def to_hub(measured: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known = {"HF_HOME": str(home), "HF_TOKEN": "hf_of_nobody", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", "push", measured[0], "hub:me/results", *measured[1:]],
        env=clean | known | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_hub_gets_one_commit_and_is_asked_for_every_hash(tmp_path, measured, hub):
    where = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}"}
    hub.files["one-smoke/stale.txt"] = b"from an older push"
    done = to_hub(measured, tmp_path, **where)
    assert done.returncode == 0, done.stderr
    assert "verified, in hub:me/results/one-smoke" in done.stdout
    assert hub.commits == ["harness push: one-smoke"]
    assert {"one-smoke/report.html", "one-smoke/rows.json", "one-smoke/README.md"} <= hub.files.keys()
    assert "one-smoke/stale.txt" not in hub.files
    hub.spoilt = "rows.json"
    done = to_hub(measured, tmp_path, **where)
    assert done.returncode == 2
    assert "did not arrive whole: one-smoke/rows.json: changed" in done.stderr


def test_without_a_connection_the_hub_gets_one_sentence(tmp_path, measured):
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = to_hub(measured, tmp_path, **environment)
        assert done.returncode == 2
        message, hint = done.stderr.strip().splitlines()[-2:]
        assert message.startswith("error: hub:me/results: the hub cannot be reached") and "push to a folder" in hint
        assert "Traceback" not in done.stderr
