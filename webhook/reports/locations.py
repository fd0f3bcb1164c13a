"""Where a finding is shown by programs that have the repository and not the working folder."""

from dataclasses import dataclass
from pathlib import PurePath

from webhook.manifests.read import STDIN
from webhook.review.files import file_in
from webhook.review.finding import Place


@dataclass(frozen=True, slots=True)
class Location:
    """A path relative to the folder of the review, a line and a column, counted from 1."""

    path: str
    line: int
    column: int


def location_of(place: Place, folder: PurePath) -> Location:
    """Where a place is shown.

    A pipe has no lines that anybody could look up. If it comes from `helm template`, its documents
    name their templates, which are in the repository.
    """
    if place.file == STDIN and place.template:
        return Location(place.template, 1, 1)
    return Location(file_in(folder, place.file), place.line, place.column)
