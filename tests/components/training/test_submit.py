import subprocess

import pytest

from components.errors import ConfigError
from components.settings import compose, settings_from
from components.training.submit import start_text


def settings(*overrides):
    return settings_from(compose(list(overrides)), where="conf")


def first(chosen):
    return next(iter(chosen.recipe.stages))


def test_alone_it_is_the_stages_own_command():
    chosen = settings()
    assert start_text(chosen, first(chosen)) == f"python -m components train {first(chosen)}\n"


@pytest.mark.parametrize(("nodes", "expected"), [(1, "--standalone --nproc-per-node 8"), (2, "--nnodes 2")])
def test_torchrun_starts_the_same_command(nodes, expected):
    chosen = settings("cluster=torchrun", f"cluster.nodes={nodes}")
    text = start_text(chosen, first(chosen))
    assert expected in text and text.endswith(f"-m components train {first(chosen)}\n")


def test_slurm_warns_in_time_and_queues_again_only_for_the_requeue_code(tmp_path):
    chosen = settings("preset=gmai_vl_7b")
    text = start_text(chosen, first(chosen))
    assert "#SBATCH --nodes=4" in text and "#SBATCH --ntasks-per-node=8" in text and "--signal=USR1@" in text
    for code, requeued in ((75, True), (1, False)):
        script = text.replace("srun --kill-on-bad-exit=0 python", "fake")
        header = f'fake() {{ return {code}; }}\nscontrol() {{ echo "scontrol $1"; }}\nSLURM_JOB_ID=7\n'
        done = subprocess.run(["bash", "-c", header + script], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert ("scontrol requeue" in done.stdout) is requeued


def test_an_unknown_stage_is_refused():
    with pytest.raises(ConfigError, match="no stage"):
        start_text(settings(), "nowhere")
