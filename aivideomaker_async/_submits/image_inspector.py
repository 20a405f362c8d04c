"""What is checked of an image while its bytes pass by: its size, its type, and a digest of both."""

from __future__ import annotations

from hashlib import blake2b

from ..specs.image_input import SNIFFED, image_type
from .body import DIGEST_SIZE, Content, Image

__all__ = ["Gauge", "ImageTooLarge"]


class ImageTooLarge(ValueError):
    """An image has `size` bytes, or more where its end was not reached."""

    def __init__(self, size: int, *, more: bool = False) -> None:
        self.size: int = size
        self.more: bool = more
        super().__init__(f"it has {'more than ' if more else ''}{size:,} bytes")


class Gauge:
    """Looks at the bytes of an image while they pass by, and knows in the end what image it was.

    Args:
        largest: the bytes that it may have.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._size = 0
        self._head = bytearray()
        self._hash = blake2b(digest_size=DIGEST_SIZE)

    def feed(self, piece: memoryview) -> None:
        """Here are the next bytes.

        Raises:
            ImageTooLarge: these are more than the image may have.
            ValueError: it is no image.
        """
        self._size += len(piece)
        if self._size > self._largest:
            raise ImageTooLarge(self._largest, more=True)
        if len(self._head) < SNIFFED:
            self._head += piece[: SNIFFED - len(self._head)]
            if len(self._head) == SNIFFED:
                self._mime()
        self._hash.update(piece)

    def image(self, content: Content) -> Image:
        """All bytes have passed, and this is what they were taken from.

        Raises:
            ValueError: it is no image.
        """
        mime = self._mime()
        self._hash.update(mime.encode("ascii"))
        return Image(mime, self._size, self._hash.digest(), content)

    def _mime(self) -> str:
        mime = image_type(bytes(self._head))
        if mime is None:
            raise ValueError("the content is no image that is known" if self._head else "it is empty")
        return mime
