"""The colors of text on a terminal."""

from webhook.review.finding import Level

STYLES = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.NOTE: "bold cyan"}
