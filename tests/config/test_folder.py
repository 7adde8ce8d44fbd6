from pathlib import Path

from retfm_dist.config.folder import config_dir


def test_a_checkout_has_its_configs_beside_the_package():
    assert config_dir() == Path(__file__).parents[2] / "configs"
    assert (config_dir() / "vitl_moorfields.yaml").is_file()


def test_an_installed_package_has_them_inside(tmp_path):
    (tmp_path / "retfm_dist" / "configs").mkdir(parents=True)
    assert config_dir(tmp_path / "retfm_dist") == tmp_path / "retfm_dist" / "configs"
