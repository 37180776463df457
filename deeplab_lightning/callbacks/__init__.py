"""What happens beside training: files, progress, stopping."""

from .evaluation_files import EvaluationFiles
from .last_checkpoint import LastCheckpoint, TrainingStopped
from .metrics_csv import MetricsCsv
from .progress import Progress
from .run_files import RunFiles

__all__ = ["EvaluationFiles", "LastCheckpoint", "MetricsCsv", "Progress", "RunFiles", "TrainingStopped"]
