"""Other names for products. Knows no template and no answer."""

from __future__ import annotations

# Product → other names for it.
NAMES: dict[str, tuple[str, ...]] = {
    "product/printer": ("inkjet printer", "colour printer", "home printer"),
    "product/laptop": ("laptop computer", "notebook computer", "portable computer"),
    "product/phone": ("mobile", "smartphone", "cell phone", "mobile phone", "cellphone"),
    "product/tablet": ("tablet computer", "tablet PC"),
    "product/camera": ("digital camera", "photo camera"),
    "product/headset": ("gaming headset", "wireless headset"),
    "product/speaker": ("loudspeaker", "music speaker"),
    "product/radio": ("kitchen radio", "radio set"),
    "product/television": ("TV", "telly", "TV set", "television set"),
    "product/washing machine": ("washer", "clothes washer", "laundry machine"),
    "product/dishwasher": ("dish washer", "dishwashing machine"),
    "product/fridge": ("refrigerator", "kitchen fridge"),
    "product/oven": ("kitchen oven", "electric oven", "baking oven"),
    "product/toaster": ("bread toaster", "electric toaster"),
    "product/coffee machine": ("coffee maker", "espresso machine", "coffeemaker"),
    "product/kettle": ("electric kettle", "water kettle", "tea kettle"),
    "product/vacuum cleaner": ("vacuum", "hoover", "vacuum-cleaner"),
    "product/lamp": ("reading lamp", "bedside lamp", "desk lamp", "table lamp"),
    "product/alarm clock": ("alarm", "bedside alarm", "alarm-clock"),
    "product/watch": ("wristwatch", "wrist watch"),
    "product/bicycle": ("bike", "pushbike", "push bike"),
    "product/heater": ("radiator", "room heater"),
    "product/router": ("wifi router", "internet router", "wifi box", "modem"),
    "product/keyboard": ("computer keyboard", "PC keyboard"),
    "product/mouse pad": ("mouse mat", "mousepad", "mousemat"),
    "product/lawn mower": ("lawnmower", "mower", "grass mower"),
    "product/tent": ("camping tent", "family tent"),
    "product/backpack": ("rucksack", "school backpack", "knapsack"),
    "product/umbrella": ("brolly", "rain umbrella"),
    "product/sewing machine": ("stitching machine", "electric sewing machine"),
}
