"""Files of a model on the Hugging Face Hub, fetched one by one as they are asked for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from reach.heads.adapter import CONFIG as ADAPTER_CONFIG
from reach.heads.files import Unreachable
from solvers.errors import BadInput, MissingExtra

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What a fast tokenizer needs."""

OLD_TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What the tokenizers without a tokenizer.json are made of."""


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
        first = config = self._fetch("config.json", revision)
        if first is None:
            first = self._at_hand[ADAPTER_CONFIG] = self._fetch(ADAPTER_CONFIG, revision)
        if first is None:
            raise BadInput(f"{repo} on the Hub has no config.json: give a model repository")
        self._at_hand["config.json"] = config
        self.folder = first.parent
        # The cache names the folder of a snapshot after its commit.
        self.revision: str | None = self.folder.name

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched unless it is in the cache; none if the repository has no such file.

        Raises:
            BadInput: it could not be fetched.
        """
        if name not in self._at_hand:
            self._at_hand[name] = self._fetch(name, self.revision)
        return self._at_hand[name]

    def at_hand(self, name: str) -> bool:
        """Whether this file has been fetched."""
        return self._at_hand.get(name) is not None

    def peek(self, name: str) -> tuple[str, ...] | None:
        """The tensor names of a safetensors file by its header, of which the first bytes of the file are enough.

        None where the file is at hand or missing, or the header could not be had so: `find` then says what is wrong.
        """
        from huggingface_hub import HfApi, try_to_load_from_cache

        known = try_to_load_from_cache(self._repo, name, cache_dir=self._cache, revision=self.revision)
        if name in self._at_hand or known is not None:
            return None
        try:
            api = HfApi(endpoint=self._endpoint)
            header = api.parse_safetensors_file_metadata(self._repo, name, revision=self.revision)
        except Exception:  # whatever it is, fetching the file meets it again and names it
            return None
        return tuple(header.tensors)

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
        try:
            return Path(
                hf_hub_download(self._repo, name, revision=revision, endpoint=self._endpoint, cache_dir=self._cache)
            )
        except utils.LocalEntryNotFoundError:  # a kind of EntryNotFoundError, but it means that the network failed
            raise Unreachable(
                f"{self._repo}: no such local folder, and {name} is not in the Hub cache while the Hub cannot be "
                "reached: check the name and the network"
            ) from None
        except utils.EntryNotFoundError:
            return None
        except utils.GatedRepoError:
            raise BadInput(
                f"{self._repo} on the Hub is gated: accept its terms there, then log in with `hf auth login`"
            ) from None
        except utils.RepositoryNotFoundError:
            raise BadInput(
                f"{self._repo}: no such local folder and no such repository on the Hub (a private one needs "
                "`hf auth login`)"
            ) from None
        except utils.RevisionNotFoundError:
            raise BadInput(f"{self._repo} on the Hub has no revision {revision}: give another") from None
        except Exception as error:
            # Which HTTP library raises, and what, depends on the version of huggingface_hub.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BadInput(f"{self._repo}: {name} cannot be fetched from the Hub: {reason}") from None


class CachedFiles(HubFiles):
    """The files of a Hub repository that are in the Hub cache already. Never asks the Hub.

    A file that is not in the cache counts as one that the repository does not have, but for those that decide what
    the head is.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        Unreachable: the cache does not hold the repository's config.json.
    """

    def peek(self, name: str) -> tuple[str, ...] | None:  # noqa: ARG002
        """Nothing: names are read from files that are at hand."""
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
