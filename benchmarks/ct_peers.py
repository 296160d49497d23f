"""The projectors that users would pick instead, in Spinray's frame."""

from __future__ import annotations

import numpy as np

from spinray.kernels.ct.geometry import ConeBeam, ParallelBeam


def astra_calls(geometry, grid, image, sinogram, kind):
    """Forward and back projection by one of ASTRA's CPU projectors, in its pixel units."""
    import astra

    size = grid.spacing[0]
    volume = astra.create_vol_geom(*grid.shape)
    spacing = geometry.column_spacing / size
    # ASTRA's angles turn the other way with its y axis, which grows upwards.
    if isinstance(geometry, ParallelBeam):
        beam = astra.create_proj_geom("parallel", spacing, geometry.columns, geometry.angles)
        projector = astra.create_projector(kind, beam, volume)
    else:
        sid, sdd = geometry.source_to_isocenter / size, geometry.source_to_detector / size
        beam = astra.create_proj_geom(
            "fanflat", spacing, geometry.columns, geometry.angles, sid, sdd - sid
        )
        projector = astra.create_projector(f"{kind}_fanflat", beam, volume)
    flipped = np.ascontiguousarray(image[::-1])

    def forward():
        ident, data = astra.create_sino(flipped, projector)
        astra.data2d.delete(ident)
        return data * size

    def back():
        ident, data = astra.create_backprojection(sinogram, projector)
        astra.data2d.delete(ident)
        return data[::-1] * size

    return forward, back


def astra_fbp(geometry, grid, sinogram):
    """Return a call of ASTRA's FBP with its Ram-Lak filter and its most accurate projector."""
    import astra

    size = grid.spacing[0]
    volume = astra.create_vol_geom(*grid.shape)
    beam = astra.create_proj_geom(
        "parallel", geometry.column_spacing / size, geometry.columns, geometry.angles
    )
    projector = astra.create_projector("linear", beam, volume)

    def call():
        data = astra.data2d.create("-sino", beam, sinogram)
        out = astra.data2d.create("-vol", volume)
        settings = astra.astra_dict("FBP")
        settings |= {
            "ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": out,
            "FilterType": "ram-lak",
        }  # fmt: skip
        algorithm = astra.algorithm.create(settings)
        astra.algorithm.run(algorithm)
        image = astra.data2d.get(out) / size
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([data, out])
        return image

    return call


def mbirjax_stack(geometry, grid, stack, sinograms):
    """Forward and back projection of a stack of slices by mbirjax, parallel beams only."""
    import jax
    import mbirjax

    slices, ny, nx = stack.shape
    model = mbirjax.ParallelBeamModel(
        (len(geometry), slices, geometry.columns), geometry.angles.astype(np.float32)
    )
    model.set_params(
        no_warning=True, recon_shape=(ny, nx, slices), verbose=0,
        delta_det_channel=geometry.column_spacing, delta_voxel=grid.spacing[0],
    )  # fmt: skip
    volume = jax.numpy.asarray(stack[:, ::-1].transpose(1, 2, 0))  # its first row is on top
    views = jax.numpy.asarray(sinograms.transpose(1, 0, 2))

    def forward():
        return np.asarray(model.forward_project(volume)).transpose(1, 0, 2)

    def back():
        return np.asarray(model.back_project(views)).transpose(2, 0, 1)[:, ::-1]

    return forward, back


class Rtk:
    """RTK's CPU filters for a circular cone: its y is the axis, its z points to the source."""

    def __init__(self, geometry, grid):
        import itk
        from itk import RTK

        self.itk, self.rtk, self.grid = itk, RTK, grid
        self.kind = itk.Image[itk.F, 3]
        self.spacing = [geometry.column_spacing, geometry.row_spacing, 1.0]
        self.circle = RTK.ThreeDCircularProjectionGeometry.New()
        for angle in np.rad2deg(geometry.angles):
            sid, sdd = geometry.source_to_isocenter, geometry.source_to_detector
            self.circle.AddProjection(sid, sdd, float(angle))
        self.shape = geometry.shape

    def _image(self, array, spacing, centred):
        image = self.itk.image_from_array(np.ascontiguousarray(array))
        image.SetSpacing(spacing)
        size = array.shape[::-1]
        image.SetOrigin(
            [-(n - 1) / 2 * d * c for n, d, c in zip(size, spacing, centred, strict=True)]
        )
        return image

    def volume(self, array):
        """Our ``(z, y, x)``."""
        dz, dy, dx = self.grid.spacing
        return self._image(array.transpose(1, 0, 2)[::-1], [dx, dz, dy], (1, 1, 1))

    def views(self, array):
        return self._image(array, self.spacing, (1, 1, 0))

    def _run(self, name, first, second):
        run = getattr(self.rtk, name)[self.kind, self.kind].New()
        run.SetInput(0, first)
        run.SetInput(1, second)
        run.SetGeometry(self.circle)
        return run

    # Each call gets an output of its own to start from: RTK's filters work in place and keep it.

    def forward(self, volume):
        """A call of the Joseph projector; gives ``(view, row, column)``."""
        image, zeros = self.volume(volume), np.zeros(self.shape, np.float32)

        def call():
            run = self._run("JosephForwardProjectionImageFilter", self.views(zeros), image)
            run.Update()
            return self.itk.array_from_image(run.GetOutput())

        return call

    def back(self, sinogram):
        """A call of the matched Joseph back projector."""
        views, zeros = self.views(sinogram), np.zeros(self.grid.shape, np.float32)

        def call():
            run = self._run("JosephBackProjectionImageFilter", self.volume(zeros), views)
            run.Update()
            return self.itk.array_from_image(run.GetOutput())

        return call

    def fdk(self, sinogram):
        """A call of FDK; gives our ``(z, y, x)``."""
        views, zeros = self.views(sinogram), np.zeros(self.grid.shape, np.float32)

        def call():
            run = self.rtk.FDKConeBeamReconstructionFilter[self.kind].New()
            run.SetInput(0, self.volume(zeros))
            run.SetInput(1, views)
            run.SetGeometry(self.circle)
            run.Update()
            return self.itk.array_from_image(run.GetOutput())[::-1].transpose(1, 0, 2)

        return call


def leap_calls(geometry, grid, image, sinogram):
    """Forward and back projection by LEAP's matched pair, on the CPU; arrays as Spinray's.

    A planar scan is a stack of one slice. Its CPU fans need pixels as wide as a column at the axis,
    so that it has no part in ours.
    """
    from leapctype import tomographicModels

    model = tomographicModels()
    model.set_gpu(-1)
    model.set_log_error()
    degrees = np.rad2deg(geometry.angles).astype(np.float32)
    views, columns = len(geometry), geometry.columns
    size, middle = grid.spacing[-1], (geometry.columns - 1) / 2
    if isinstance(geometry, ConeBeam):
        model.set_conebeam(
            views, geometry.rows, columns, geometry.row_spacing, geometry.column_spacing,
            (geometry.rows - 1) / 2, middle, degrees, geometry.source_to_isocenter,
            geometry.source_to_detector,
        )  # fmt: skip
        slices, height = grid.shape[0], grid.spacing[0]
    else:
        spacing = geometry.column_spacing
        model.set_parallelbeam(views, 1, columns, size, spacing, 0.0, middle, degrees)
        slices, height = 1, size
    model.set_volume(grid.shape[-1], grid.shape[-2], slices, size, height)
    volume = np.ascontiguousarray(image.reshape(slices, *grid.shape[-2:]), np.float32)
    views_in = np.ascontiguousarray(sinogram.reshape(views, -1, columns), np.float32)
    views_out, volume_out = np.zeros_like(views_in), np.zeros_like(volume)

    def forward():
        return model.project(views_out, volume).reshape(sinogram.shape)

    def back():
        return model.backproject(views_in, volume_out).reshape(image.shape)

    return forward, back


def tomopy_fbp(geometry, grid, sinogram):
    """A call of TomoPy's gridrec with its Ram-Lak filter; pixels are as wide as columns.

    Columns are padded to twice their number: gridrec convolves in a circle.
    """
    import tomopy

    margin = geometry.columns // 2
    angles = geometry.angles.astype(np.float32)
    center = (geometry.columns - 1) / 2 + margin

    def call():
        padded = np.pad(sinogram[None], ((0, 0), (0, 0), (margin, margin)))
        image = tomopy.recon(
            padded, angles, center=center, sinogram_order=True, algorithm="gridrec",
            filter_name="ramlak",
        )[0]  # fmt: skip
        edge = len(image) // 2 - grid.shape[0] // 2
        return image[edge : edge + grid.shape[0], edge : edge + grid.shape[1]] / grid.spacing[0]

    return call


def deepinv_calls(geometry, grid, image, sinogram):
    """Forward and back projection of parallel beams by deepinv's torch operator."""
    import torch
    from deepinv.physics import Tomography

    physics = Tomography(
        angles=torch.from_numpy(np.rad2deg(geometry.angles)).float(), img_width=grid.shape[1],
        circle=False, normalize=False,
    )  # fmt: skip
    x = torch.from_numpy(np.ascontiguousarray(image[::-1]))[None, None]  # its first row is on top
    y = torch.from_numpy(np.ascontiguousarray(sinogram.T))[None, None]
    size = grid.spacing[0]
    return (
        lambda: size * physics.A(x)[0, 0].T.numpy(),
        lambda: size * physics.A_adjoint(y)[0, 0].numpy()[::-1],
    )
