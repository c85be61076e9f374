"""What the templates about dishes need to know of a dish, and other names for it.

`{is}`, `{does}`, `{it}`, `{them}` and `{taste_verb}` agree with the dish, and so do `{a}`, `{cook}`
and `{eat}` of `fields`. Knows no answer.
"""

from __future__ import annotations

from lora_magic.demo.world import Dish

# Way of making it → the verb for it.
_COOK = {"soup": "cook", "bake": "bake", "fry": "cook", "mix": "make", "drink": "make"}
# What one cannot count, and so has no "a".
_UNCOUNTED = frozenset(
    (
        "corn bread",
        "fried rice",
        "mushroom pasta",
        "hummus",
        "lemonade",
        "hot chocolate",
        "mint tea",
    )
)


def fields(dish: Dish) -> dict[str, str]:
    """`{a}`: "a" if the dish is counted, `{cook}` and `{eat}`: "bake" and "eat", or "drink"."""
    return {
        "a": "" if dish.plural or dish.name in _UNCOUNTED else "a",
        "cook": _COOK[dish.method],
        "eat": "drink" if dish.method == "drink" else "eat",
    }


# Dish → other names for it, of the same number.
NAMES: dict[str, tuple[str, ...]] = {
    "dish/tomato soup": ("soup with tomatoes", "homemade tomato soup", "creamy tomato soup"),
    "dish/vegetable soup": ("veggie soup", "veg soup", "soup with vegetables"),
    "dish/pumpkin soup": ("soup with pumpkin", "squash soup"),
    "dish/chicken stew": ("chicken casserole", "stew with chicken"),
    "dish/lentil stew": ("lentil casserole", "stew with lentils", "lentil hotpot"),
    "dish/bean chili": ("bean chilli", "chili", "chilli", "chili with beans", "veggie chili"),
    "dish/apple pie": ("homemade apple pie", "pie with apples", "apple tart"),
    "dish/chocolate cake": ("choc cake", "choccy cake", "chocolate sponge"),
    "dish/lemon cake": ("lemon drizzle cake", "lemon sponge", "cake with lemon"),
    "dish/oat cookies": ("oatmeal cookies", "oat biscuits", "oatmeal biscuits"),
    "dish/banana bread": ("banana loaf", "banana cake"),
    "dish/corn bread": ("cornbread", "maize bread"),
    "dish/cheese pie": ("cheese tart", "pie with cheese"),
    "dish/blueberry muffins": ("muffins with blueberries", "homemade blueberry muffins"),
    "dish/baked potatoes": ("jacket potatoes", "oven-baked potatoes", "jacket spuds"),
    "dish/pizza": ("homemade pizza", "pizza pie"),
    "dish/pancakes": ("hotcakes", "homemade pancakes"),
    "dish/omelettes": ("omelets", "egg omelettes"),
    "dish/fried rice": ("egg fried rice", "stir-fried rice"),
    "dish/fish cakes": ("fishcakes", "fish patties"),
    "dish/vegetable curry": ("veggie curry", "veg curry", "curry with vegetables"),
    "dish/mushroom pasta": ("pasta with mushrooms", "creamy mushroom pasta"),
    "dish/noodles": ("fried noodles", "stir-fried noodles"),
    "dish/scrambled eggs": ("soft scrambled eggs",),
    "dish/green salad": ("leaf salad", "lettuce salad", "mixed salad", "side salad"),
    "dish/potato salad": ("salad with potatoes", "cold potato salad"),
    "dish/fruit salad": ("salad with fruit", "mixed fruit salad"),
    "dish/tuna sandwiches": ("sandwiches with tuna", "tuna sarnies", "tuna fish sandwiches"),
    "dish/cheese sandwiches": ("sandwiches with cheese", "cheese sarnies"),
    "dish/hummus": ("houmous", "hommus", "chickpea dip"),
    "dish/lemonade": ("homemade lemonade", "fresh lemonade"),
    "dish/hot chocolate": ("hot cocoa", "cocoa", "drinking chocolate"),
    "dish/mint tea": ("peppermint tea", "fresh mint tea", "tea with mint"),
    "dish/berry smoothies": ("smoothies with berries", "berry shakes", "smoothies"),
}
