"""``python typed.py STEP WORDS``: the command line, in which rank 1 is killed after that step of its first start."""

import os
import signal
import sys

from torch.optim.optimizer import register_optimizer_step_post_hook

from convscope.cli import main
from train.sittings import when

if __name__ == "__main__":
    step, *words = sys.argv[1:]
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and step != "never":
        register_optimizer_step_post_hook(when(int(step), lambda *_: os.kill(os.getpid(), signal.SIGKILL)))
    sys.exit(main(words))
