"""What happens beside training: files, progress, stopping."""

from .evaluation_files import EvaluationFiles
from .graceful_stop import GracefulStop, TrainingStopped
from .metrics_csv import MetricsCsv
from .progress import Progress
from .run_files import RunFiles

__all__ = ["EvaluationFiles", "GracefulStop", "MetricsCsv", "Progress", "RunFiles", "TrainingStopped"]
