"""BlendedDiff: blended latent diffusion (Avrahami, Fried, Lischinski 2023), a text-to-image model that inpaints.

After every step the latents outside the hole are replaced by the source's, noised to the step that comes next; the
model itself knows of no hole. That is what diffusers' inpainting pipelines do with a UNet of 4 channels, so this
adapter only asks for one. The authors start after a quarter of the steps from the noised source: `strength` is the
share that is run.
"""

from harness.generators.diff_inpainting import DiffInpainting


class BlendedDiff(DiffInpainting):
    """The generator "BlendedDiff" of the paper, over any text-to-image base: SDXL as there, SD 1.5, SD 2.1, the
    tiny one.

    An empty mask gives the autoencoder's round trip of the crop; a full one, at strength 1, plain text-to-image.
    """

    name = "blended"
    channels = (4,)
