"""What is in an upload: who reads the form keeps in memory what is no file, and open each that is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FILES = b"files"
"""The name under which Gradio expects a file, and nothing else."""


class FieldCounter:
    """Looks at a form on its way in, and counts the bytes of its fields and the files, whose bytes go to the disk.

    What is not sent as a form is not counted: it is refused by whoever reads it.

    Args:
        content_type: as the request states it.

    Attributes:
        total: bytes of fields so far.
        files: how many have begun so far.

    Raises:
        FormParserError: no form can be made of it.
    """

    def __init__(self, content_type: str) -> None:
        self.total = self.files = 0
        self._is_file = False
        self._name, self._value = bytearray(), bytearray()
        kind, options = parse_options_header(content_type)
        self._parser: MultipartParser | None = None
        if kind == b"multipart/form-data" and b"boundary" in options:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            FormParserError: they are not those of a form, or something else stands in the place of a file.
        """
        if self._parser is not None:
            self._parser.write(data)

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._take_header,
            "on_headers_finished": self._count_file,
            "on_part_data": self._count,
        }

    def _begin(self) -> None:
        self._is_file = False

    def _take_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            options = parse_options_header(bytes(self._value))[1]
            self._is_file = b"filename" in options
            if options.get(b"name") == _FILES and not self._is_file:
                raise FormParserError("its file has no name")
        self._name.clear()
        self._value.clear()

    def _count_file(self) -> None:
        self.files += self._is_file

    def _count(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self.total += end - start
