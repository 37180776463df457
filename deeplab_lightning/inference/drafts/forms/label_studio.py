"""Label Studio: tasks with predictions to import, polygons in percent of the image's sides.

Label Studio's polygons have no holes: they are joined to the outline by cuts that run there and back, which fill to the
same pixels. Images are served from its local files storage: the form's folder is to be its document root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ....files import write_text
from ..form import DraftClass, DraftImage, Form
from ..outlines import OutlinedRegion

NAME, IMAGE = "label", "image"
"""What tasks and the project's labelling interface call the polygons, and the image."""


class LabelStudioForm(Form):
    """`tasks.json`, the folder `images`, and `labelling_interface.xml` for the project's settings."""

    def __init__(self, folder: Path, classes: Mapping[int, DraftClass]) -> None:
        super().__init__(folder, classes)
        self._count = 0
        self._file = (folder / "tasks.json").open("w", encoding="utf-8")
        self._file.write("[")

    def add(self, image: DraftImage) -> None:
        """Write the image's task."""
        results = [self._result(number, region, image) for number, region in enumerate(self.drafted(image))]
        task = {
            "data": {IMAGE: f"/data/local-files/?d={quote(f'{self.images}/{image.file}')}"},
            "predictions": [{"model_version": "deeplab_lightning", "result": results}],
        }
        self._file.write(f"{',' * (self._count > 0)}\n{json.dumps(task)}")
        self._count += 1

    def finish(self) -> None:
        """End the tasks, and write the labelling interface."""
        self._file.write("\n]\n")
        self._file.close()
        labels = "".join(
            f"    <Label value={quoteattr(one.name)} background={quoteattr(one.hex_colour)}/>\n"
            for one in self.classes.values()
        )
        write_text(
            self.folder / "labelling_interface.xml",
            f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>\n'
            f'  <PolygonLabels name="{NAME}" toName="{IMAGE}">\n{labels}  </PolygonLabels>\n</View>\n',
        )

    def _result(self, number: int, region: OutlinedRegion, image: DraftImage) -> dict[str, object]:
        points = region.keyhole() * 100 / (image.width, image.height)
        return {
            "id": f"draft_{number}",
            "type": "polygonlabels",
            "from_name": NAME,
            "to_name": IMAGE,
            "original_width": image.width,
            "original_height": image.height,
            "image_rotation": 0,
            "value": {
                "points": points.tolist(),
                "closed": True,
                "polygonlabels": [self.classes[region.class_id].name],
            },
        }
