"""What a plug-in is written against: the contracts of methods, suites and testbeds, and the types they exchange.

No import here needs torch. A metric is a `torchmetrics.Metric` on `metrics.base`; a pruning is a plain function, see
`benchmark/models/prunings.py`.
"""

from benchmark.api.model import Model, TrainingFacts
from benchmark.api.request import Outcome, RunRequest, Runtime
from benchmark.api.suite import Evidence, Scores, Suite
from benchmark.api.testbed import PictureFiles, Testbed, Workbench
from methods.base import Checkpointer, Context, Data, Materials, Method, State, configure
from methods.budget import Budget, Cost, Entry, Ledger
from methods.costs import Step, Terms
from methods.objective import UpperObjective
from prompts.concepts import Concept
from prompts.lists import Prompt

__all__ = [
    "Budget",
    "Checkpointer",
    "Concept",
    "Context",
    "Cost",
    "Data",
    "Entry",
    "Evidence",
    "Ledger",
    "Materials",
    "Method",
    "Model",
    "Outcome",
    "PictureFiles",
    "Prompt",
    "RunRequest",
    "Runtime",
    "Scores",
    "State",
    "Step",
    "Suite",
    "Terms",
    "Testbed",
    "TrainingFacts",
    "UpperObjective",
    "Workbench",
    "configure",
]
