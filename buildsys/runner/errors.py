"""One error out of a group of them."""

from __future__ import annotations


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others in its TaskGroup stop."""
    error = errors.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
