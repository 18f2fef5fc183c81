"""A fit in a real kernel: one clean picture, in its place."""

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TOY = """
import torch
from convscope.d2l import torch as d2l
class Toy(d2l.DataModule):
    def get_dataloader(self, train):
        self.batch_size = 8
        return self.get_tensorloader((torch.rand(64, 1, 28, 28), torch.arange(64) % 10), train)
model = d2l.LeNet()
trainer = d2l.Trainer(max_epochs=3)
trainer.fit(model, Toy())
"""
BARE = """
board = d2l.ProgressBoard("x")
for x in range(20):
    board.draw(x, x * x, "square", every_n=2)
"""


@pytest.mark.filterwarnings("ignore")  # of the machinery that runs kernels
def test_each_cell_has_one_picture(tmp_path):
    cells = [nbformat.v4.new_code_cell(text) for text in (TOY, BARE, "trainer.fit(model, Toy())")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, words in zip(notebook.cells, ("val_acc", "square", "val_acc"), strict=True):
        (output,) = [output for output in cell.outputs if output.output_type != "stream"]
        assert output.output_type == "display_data"
        assert words in output.data["text/plain"]
        assert output.data["image/svg+xml"].count("<svg ") == 1
    assert not [output for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no files"
