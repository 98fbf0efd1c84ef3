"""The preconditions of a write: what If-Match and If-None-Match require of a resource's version (RFC 9110, 13.1)."""

from typing import NamedTuple

from coherent import errors


class Preconditions(NamedTuple):
    """The versions that a write may change: any by default."""

    # If-Match: None allows any version.
    allowed: frozenset[int] | None = None
    has_weak_tag: bool = False
    # If-None-Match: `*` forbids any version.
    forbidden: frozenset[int] = frozenset()
    forbids_any: bool = False

    def hold_for(self, version: int) -> bool:
        """Returns whether a resource of this *version* may be changed."""
        return self._is_allowed(version) and not self.forbids_any and version not in self.forbidden

    def failure(self, noun: str, version: int) -> errors.PreconditionFailed:
        """Returns the error for a *noun* whose *version* the preconditions do not allow."""
        if self._is_allowed(version):
            return errors.PreconditionFailed(f"If-None-Match: must not name the current ETag of the {noun}")
        if self.has_weak_tag:
            return errors.PreconditionFailed(
                "If-Match: must name a strong ETag, since a weak one never matches; leave out the W/ that a proxy added"
            )
        return errors.PreconditionFailed(
            f"If-Match: must name the current ETag; the {noun} has changed, so retrieve it again"
        )

    def _is_allowed(self, version: int) -> bool:
        return self.allowed is None or version in self.allowed


ANY = Preconditions()
