from perdure.environments.familiar import INSTALLED_AS, NAMES, meant, near_misses


def test_a_slip_of_the_fingers_and_a_name_to_import_are_known() -> None:
    assert near_misses("nunpy")[0] == "numpy"
    assert near_misses("Scikit_Lern")[0] == "scikit-learn"
    assert near_misses("sklearn")[0] == "scikit-learn"
    assert near_misses("cv2")[0] == "opencv-python-headless"
    assert near_misses("mypakcage", ["mypackage"]) == ("mypackage",)
    assert near_misses("qqqqqqq") == ()


def test_what_is_meant_can_be_added() -> None:
    assert all(
        name == name.lower() and "_" not in name for name in NAMES | {*INSTALLED_AS.values()}
    )
    assert meant(["a", "b"], "x") == "did you mean `a` or `b`?"
    assert meant([], "x") == "x"
