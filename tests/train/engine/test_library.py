import subprocess
import sys


def test_deepspeed_comes_without_mlflow_and_leaves_it_importable():
    code = (
        "import sys; from retfm_dist.train.engine.library import import_deepspeed; "
        "deepspeed = import_deepspeed(); assert 'mlflow' not in sys.modules; "
        "assert deepspeed.ops.__compatible_ops__['deepspeed_shm_comm'] is False; import mlflow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
