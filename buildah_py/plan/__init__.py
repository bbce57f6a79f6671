"""From a syntax tree to a graph of steps and an image config; knows nothing of execution."""

from buildah_py.plan.graph import Input, NeedsValue, Node, Plan
from buildah_py.plan.planner import PlanOptions, make_plan, make_plans

__all__ = ["Input", "NeedsValue", "Node", "Plan", "PlanOptions", "make_plan", "make_plans"]
