"""Files of a model on the Hugging Face Hub, fetched as they are asked for: whole, or only the parts needed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from reach.heads.adapter import CONFIG as ADAPTER_CONFIG
from reach.heads.files import FIRST_BYTES, FileParts, Unreachable
from reach.heads.hub_parts import HubParts
from reach.heads.hub_transfer import Broken, Located, NoRanges, locate
from solvers.errors import BadInput, MissingExtra

_log = logging.getLogger(__name__)

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
"""Endings of the files that may be large."""

LARGE = 10**7
"""Bytes of a file from which on it is said before it is fetched whole."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What a fast tokenizer needs."""

OLD_TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "tiktoken.model",
    "qwen.tiktoken",
    "rwkv_vocab_v20230424.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What the tokenizers without a tokenizer.json are made of."""


_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


class _NoSuchFile(BadInput):
    """A file that the repository does not have."""


def _is_silence(error: Exception) -> bool:
    """Whether an error means that nobody answered."""
    answered = getattr(error, "response", None) is not None
    return not answered and (
        isinstance(error, (ConnectionError, TimeoutError))
        or any(kind.__module__.partition(".")[0] in _HTTP_LIBRARIES for kind in type(error).__mro__)
    )


def revisions_of(repo: str, *, endpoint: str | None = None) -> list[str]:
    """The branches and tags of a Hub repository, each once.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        BadInput: there is no such repository, or it cannot be reached.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingExtra(f"{repo} is no local folder, and reading from the Hub needs: pip install huggingface_hub")
    from huggingface_hub import HfApi

    try:
        refs = HfApi(endpoint=endpoint).list_repo_refs(repo)
    except Exception as error:
        raise complaint(repo, "its list of revisions", None, error) from None
    return list(dict.fromkeys(one.name for one in (*refs.branches, *refs.tags)))


class HubFiles:
    """The files of one commit of one Hub repository.

    The commit is settled by the first file (config.json); all others come from the same one, so that a push while we
    read cannot mix two models.

    Args:
        repo: Hub id, such as `org/name`.
        revision: branch, tag or commit; none means the main branch.
        endpoint: address of the Hub; none means the usual one (or `HF_ENDPOINT`).
        cache: folder of the Hub cache; none means the usual one (or `HF_HOME`).

    Raises:
        MissingExtra: huggingface_hub is not installed.
        BadInput: the repository, the revision or its config.json does not exist or cannot be reached.
    """

    def __init__(
        self, repo: str, revision: str | None = None, *, endpoint: str | None = None, cache: Path | None = None
    ) -> None:
        if find_spec("huggingface_hub") is None:
            raise MissingExtra(
                f"{repo} is no local folder, and reading from the Hub needs: pip install huggingface_hub"
            )
        self.where = repo
        self._repo, self._endpoint, self._cache = repo, endpoint, cache
        self._at_hand: dict[str, Path | None] = {}
        self._parts: dict[str, FileParts | None] = {}
        self._whole_because: dict[str, str] = {}
        new = not self._decided("config.json", revision)
        first = config = self._fetch("config.json", revision)
        if first is None:
            first = self._at_hand[ADAPTER_CONFIG] = self._fetch(ADAPTER_CONFIG, revision)
        if first is None:
            raise BadInput(f"{repo} on the Hub has no config.json: give a model repository")
        self._at_hand["config.json"] = config
        self.folder = first.parent
        # The cache names the folder of a snapshot after its commit.
        self.revision: str | None = self.folder.name
        if new and config is not None:
            self._say_if_renamed()

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched whole unless it is in the cache; none if the repository has no such file.

        How large it is, and why it is not fetched in parts, is logged before a large file is.

        Raises:
            BadInput: it could not be fetched.
        """
        if name not in self._at_hand:
            self._at_hand[name] = self._fetch(name, self.revision)
        return self._at_hand[name]

    def at_hand(self, name: str) -> bool:
        """Whether this file has been fetched."""
        return self._at_hand.get(name) is not None

    def parts(self, name: str) -> FileParts | None:
        """The parts of a file, with its first `FIRST_BYTES` fetched; none where `find` is the way to it.

        That is so where the whole file is in the cache, the repository has none, or the server gives no parts.

        Raises:
            BadInput: it could not be fetched.
        """
        if name not in self._parts:
            self._parts[name] = None if self._decided(name, self.revision) else self._open_parts(name)
        return self._parts[name]

    def others(self, *endings: str) -> tuple[str, ...]:  # noqa: ARG002
        """None: a repository is not listed."""
        return ()

    def _decided(self, name: str, revision: str | None) -> bool:
        """Whether the cache holds the whole file, or knows that this commit has none."""
        from huggingface_hub import try_to_load_from_cache, utils

        if name in self._at_hand:
            return True
        try:
            return try_to_load_from_cache(self._repo, name, cache_dir=self._cache, revision=revision) is not None
        except utils.HFValidationError:
            return False  # fetching it says what is wrong

    def _say_if_renamed(self) -> None:
        """Log the name to which the Hub sends whoever asks for the repository under an old one."""
        try:
            address = urlsplit(locate(self._repo, "config.json", self.revision, self._endpoint).url)
        except Exception:  # it has been fetched already, and this is a remark
            return
        name, resolved, _ = address.path.partition("/resolve/")
        if resolved and not name.endswith(f"/{self._repo}"):
            _log.warning("%s is called %s on the Hub now", self._repo, "/".join(name.strip("/").split("/")[-2:]))

    def _open_parts(self, name: str) -> FileParts | None:
        assert self.revision is not None
        try:
            parts = HubParts(self._repo, name, self.folder.parents[1], self.revision, lambda: self._locate(name))
            parts.read(0, min(FIRST_BYTES, parts.size), "header")
        except NoRanges:
            self._whole_because[name] = "the server gives no parts of it"
            return None
        except _NoSuchFile:
            return None
        return parts

    def _locate(self, name: str) -> Located:
        """Where a file is served.

        Raises:
            Broken, BadInput: it cannot be said.
        """
        from huggingface_hub import utils

        try:
            try:
                return locate(self._repo, name, self.revision, self._endpoint)
            except Exception as error:
                if not _is_silence(error):
                    raise
            # A connection that was kept open may have been closed at the other end: a new one tells.
            return locate(self._repo, name, self.revision, self._endpoint)
        except utils.EntryNotFoundError:
            raise _NoSuchFile(f"{self._repo} on the Hub has no {name} at commit {self.revision}") from None
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in (408, 429) or (status or 0) >= 500:
                raise Broken(f"the Hub answered {status}") from None
            raise complaint(self._repo, name, self.revision, error) from None

    def fetch_tokenizer(self) -> None:
        """Fetch the files of the tokenizer into `folder`: tokenizer.json and its settings, else the older kinds.

        Raises:
            BadInput: a file exists but could not be fetched.
        """
        found = [self.find(name) for name in TOKENIZER_FILES]
        if found[0] is None:
            for name in OLD_TOKENIZER_FILES:
                self.find(name)

    def _fetch(self, name: str, revision: str | None) -> Path | None:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache, utils

        if revision is not None:
            cached = try_to_load_from_cache(self._repo, name, cache_dir=self._cache, revision=revision)
            if cached is not None and not isinstance(cached, str):
                return None  # the cache remembers that this commit has no such file
            if cached is None and Path(name).suffix in WEIGHTS:
                self._say_how_much(name)
        try:
            return Path(
                hf_hub_download(self._repo, name, revision=revision, endpoint=self._endpoint, cache_dir=self._cache)
            )
        except utils.LocalEntryNotFoundError as error:  # a kind of EntryNotFoundError, but the network failed
            raise complaint(self._repo, name, revision, error) from None
        except utils.EntryNotFoundError:
            return None
        except Exception as error:
            raise complaint(self._repo, name, revision, error) from None

    def _say_how_much(self, name: str) -> None:
        """Log the size of a large file that is going to be fetched whole; whatever fails here is met again there."""
        try:
            size = locate(self._repo, name, self.revision, self._endpoint).size
        except Exception:
            return
        if size is not None and size >= LARGE:
            reason = self._whole_because.get(name, "only safetensors files can be read in parts")
            amount = f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
            _log.warning("%s: %s is fetched whole (%s): %s", self._repo, name, amount, reason)


def complaint(repo: str, name: str, revision: str | None, error: Exception) -> BadInput:
    """What to say of an error of huggingface_hub or its HTTP library. Which one raises depends on its version."""
    from huggingface_hub import constants, utils

    if isinstance(error, BadInput):
        return error
    if isinstance(error, utils.GatedRepoError):
        return BadInput(f"{repo} on the Hub is gated: accept its terms there, then log in with `hf auth login`")
    if isinstance(error, utils.RepositoryNotFoundError):
        return BadInput(
            f"{repo}: no such local folder and no such repository on the Hub (a private one needs `hf auth login`)"
        )
    if isinstance(error, utils.RevisionNotFoundError):
        return BadInput(f"{repo} on the Hub has no revision {revision}: give another")
    if isinstance(error, utils.LocalEntryNotFoundError) or _is_silence(error):
        why = (
            "HF_HUB_OFFLINE is set: unset it, or fetch the model first"
            if constants.HF_HUB_OFFLINE
            else "the Hub cannot be reached: check the name and the network"
        )
        return Unreachable(f"{repo}: no such local folder, and {name} is not in the Hub cache while {why}")
    reason = " ".join(str(error).split()) or type(error).__name__
    return BadInput(f"{repo}: {name} cannot be fetched from the Hub: {reason}")


class CachedFiles(HubFiles):
    """The files of a Hub repository that are in the Hub cache already. Never asks the Hub.

    A file that is not in the cache counts as one that the repository does not have, but for those that decide what
    the head is.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        Unreachable: the cache does not hold the repository's config.json.
    """

    def _open_parts(self, name: str) -> FileParts | None:
        assert self.revision is not None
        try:
            return HubParts(self._repo, name, self.folder.parents[1], self.revision, None)
        except Unreachable:
            return None

    def _fetch(self, name: str, revision: str | None) -> Path | None:
        from huggingface_hub import try_to_load_from_cache, utils

        try:
            cached = try_to_load_from_cache(self._repo, name, cache_dir=self._cache, revision=revision)
        except utils.HFValidationError:
            raise BadInput(f"{self._repo}: no such folder or file, and no Hub id either: name the model") from None
        if isinstance(cached, str):
            return Path(cached)
        if cached is None and name in ("config.json", ADAPTER_CONFIG):
            raise Unreachable(
                f"{self._repo}: no such folder or file, and {name} is not in the Hub cache; only a model that the "
                "command line names is fetched from the Hub"
            )
        return None
