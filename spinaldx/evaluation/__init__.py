"""Score results folders against a table of truth, in the tables of the paper."""

from spinaldx.evaluation.assemble import evaluate
from spinaldx.evaluation.evaluation import Evaluation, EvaluationOptions
from spinaldx.evaluation.write import as_json, json_schema

__all__ = ["Evaluation", "EvaluationOptions", "as_json", "evaluate", "json_schema"]
