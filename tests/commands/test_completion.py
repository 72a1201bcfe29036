"""The shell asks for names and gets them."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete", reason="install the extra `completion`")

ASKED = {
    "harness pl": {"plan"},
    "harness plan table": {"table1", "table1_all", "table2"},
    "harness run table1 --profile s": {"smoke"},
    "harness run table1 --only gligen,oneformer_s": {"gligen,oneformer_small"},
    "harness run table1 --with gligen,glig": set(),
    "harness synthesize --generator copy": {"copy_paste"},
    "harness run table1 --set segmenters.fast": {"segmenters.fastinst."},
    "harness run table1 --launcher r": {"ray"},
    "harness report table1 --so": {"--sort"},
    "harness store li": {"list"},
}


@pytest.mark.parametrize("line", ASKED)
def test_names_are_completed(line, tmp_path):
    answer = tmp_path / "answer"
    variables = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    variables |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness"], env=os.environ | variables, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "" and {one.strip() for one in answer.read_text().split("\n") if one} == ASKED[line]
