"""`tokenizer.model` and `spiece.model`: the pieces of a sentencepiece model, in the order of their ids.

Its files are protocol buffers (`sentencepiece_model.proto` of google/sentencepiece). Only the pieces are described
here; everything else in the file is skipped by the library.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from reach.vocabularies.pieces import metaspace, text_of
from reach.vocabularies.tokens import Kind, Token, Unreadable

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED = range(1, 6)
_KINDS = {_UNKNOWN: Kind.SPECIAL, _CONTROL: Kind.SPECIAL, _USER: Kind.ADDED, _UNUSED: Kind.UNUSED}


def sentencepiece_tokens(content: bytes) -> dict[int, Token]:
    """The tokens of a sentencepiece model by their ids.

    Raises:
        Unreadable: the content is no such model.
    """
    from google.protobuf.message import DecodeError

    try:
        model = _model_type().FromString(content)
    except DecodeError as error:
        raise Unreadable(f"it is no sentencepiece model: {error}") from None
    if not model.pieces or not all(piece.piece for piece in model.pieces):
        raise Unreadable("it is no sentencepiece model: it has no pieces, or one that is empty")
    spelled = metaspace()
    tokens = {}
    for number, stored in enumerate(model.pieces):
        piece = text_of(stored.piece)
        # The unknown and the control tokens are literal text.
        token = Token(piece, piece) if stored.type in (_UNKNOWN, _CONTROL) else spelled(piece)
        tokens[number] = token._replace(kind=token.kind | _KINDS.get(stored.type, Kind.NONE))
    return tokens


@cache
def _model_type() -> Any:
    """The message of a whole model, as far as it is of interest: `repeated SentencePiece pieces = 1`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="reach/pieces.proto", package="reach.pieces", syntax="proto2")
    model = file.message_type.add(name="Model")
    piece = model.nested_type.add(name="Piece")
    # The text is taken as bytes: a piece that is no UTF-8 is the tokenizer's affair.
    piece.field.add(name="piece", number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    piece.field.add(
        name="type", number=3, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL, default_value=str(_NORMAL)
    )
    model.field.add(
        name="pieces", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED,
        type_name=".reach.pieces.Model.Piece",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("reach.pieces.Model"))
