"""What a video shows, as a value: equal scenes are one clip."""

from attrs import frozen


@frozen(kw_only=True)
class Scene:
    """One picture for each prompt, of equal length, `seconds` in all.

    `image` is an image file to show, `aspect` such as `"16:9"`; without one the image's
    orientation decides, and without an image it is landscape.
    """

    model: str
    prompts: tuple[str, ...]
    seconds: int
    aspect: str | None = None
    image: bytes | None = None
