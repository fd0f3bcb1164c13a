"""Paths in the repository."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY / "tests" / "fixtures"
GOLDEN = REPOSITORY / "tests" / "golden"
DEPLOY = REPOSITORY / "deploy"
EXAMPLES = DEPLOY / "examples"
