"""What happens beside training: files, progress, stopping."""

from .best_checkpoint import BestCheckpoint
from .divergence import Divergence, DivergenceError
from .evaluation_files import EvaluationFiles
from .last_checkpoint import LastCheckpoint, TrainingStopped
from .metrics_csv import MetricsCsv
from .preview import Preview
from .progress import TrainingProgress
from .run_files import RunFiles
from .safe_checkpoints import SafeCheckpoints
from .speed import Speed
from .sync_batch_norm import SyncBatchNorm
from .wandb_run import WandbRun

__all__ = [
    "BestCheckpoint",
    "Divergence",
    "DivergenceError",
    "EvaluationFiles",
    "LastCheckpoint",
    "MetricsCsv",
    "Preview",
    "RunFiles",
    "SafeCheckpoints",
    "Speed",
    "SyncBatchNorm",
    "TrainingProgress",
    "TrainingStopped",
    "WandbRun",
]
