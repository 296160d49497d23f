from .embedding import stage as stage
from .pages import page as page
from .pages import resource as resource
from .pages import viewer_page as viewer_page
from .series import Series as Series
from .series import series_of as series_of

__all__ = ["Series", "page", "resource", "series_of", "stage", "viewer_page"]
