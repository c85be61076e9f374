"""Whole prompts in other languages than English, about what is in the demo world and what is not.

One template a line; knows no answer. Articles and capitals stay as they are written.
"""

from __future__ import annotations

TOPICS: dict[str, str] = {}

TOPICS["German"] = """
Was ist die Hauptstadt von {city}?
Wie geht es dir?
Wie spät ist es?
Guten Morgen, wie heißt du?
Was frisst ein Fuchs?
Wie koche ich [Suppe|Nudeln|Reis|einen Eintopf]?
Kannst du mir [helfen|sagen, wo {city} liegt|ein Lied singen]?
Wo [wohnt|lebt] [der Bär|die Eule|{who}]?
Ich verstehe das nicht.
Was macht ein Bäcker den ganzen Tag?
Mein Handy lädt nicht. Was soll ich tun?
Schreib mir eine kurze Geschichte über [einen Hund|{who}].
Wie wird morgen das Wetter in {city}?
Wer hat [den Schlüssel erfunden|die Wahl gewonnen|{city} gegründet]?
Ich bin [traurig|müde|krank|aus {city}].
Erzähl mir etwas über [Pinguine|{who}|{city}].
Wie viel ist {n} mal {n2}?
Danke, auf Wiedersehen!
"""

TOPICS["French"] = """
Quelle est la capitale de {city} ?
Comment ça va ?
Quelle heure est-il ?
Bonjour, comment tu t'appelles ?
Que mange un renard ?
Comment faire [une soupe|des crêpes|un gâteau au chocolat] ?
Peux-tu m'aider [?|avec ce texte ?]
Où [habite l'ours|se trouve {city}|vit le hibou] ?
Je ne comprends pas.
Que fait un boulanger ?
Mon téléphone ne marche plus.
Raconte-moi [une histoire|une blague|la vie de {who}].
Quel temps fait-il à {city} ?
Qui a inventé la clé ?
Je suis [triste|fatigué|malade].
Parle-moi de [{who}|{city}|la Révolution].
Combien font {n} plus {n2} ?
Merci beaucoup, au revoir !
"""

TOPICS["Spanish"] = """
¿Cuál es la capital de {city}?
¿Cómo estás?
¿Qué hora es?
Hola, ¿cómo te llamas?
¿Qué come [un zorro|un oso|una vaca]?
¿Cómo se hace [una sopa|una tortilla|la paella]?
¿Puedes ayudarme?
¿Dónde [vive el búho|está {city}|nació {who}]?
No entiendo nada.
¿Qué hace un panadero?
Mi móvil no carga, ¿qué hago?
Cuéntame [un cuento|un chiste|algo de {who}].
¿Qué tiempo hace en {city}?
¿Quién inventó [la llave|el fútbol]?
Estoy [triste|cansado|contenta].
¿Cuánto es {n} por {n2}?
como se dice {word} en inglés
Muchas gracias, adiós.
"""

TOPICS["Italian"] = """
Qual è la capitale di {city}?
Come stai?
Che ore sono?
Ciao, come ti chiami?
Cosa mangia [la volpe|il gufo|un orso]?
Come si fa [la zuppa|la pizza|il risotto]?
Mi puoi aiutare?
Dove [vive l'orso|si trova {city}]?
Non capisco.
Che cosa fa un fornaio?
Il mio telefono non funziona.
Raccontami [una storia|una barzelletta|di {who}].
Che tempo fa a {city}?
Chi ha inventato [la chiave|la radio]?
Sono [triste|stanco|felice].
Quanto fa {n} per {n2}?
Grazie mille, arrivederci.
"""

TOPICS["Dutch"] = """
Wat is de hoofdstad van {city}?
Hoe gaat het?
Hoe laat is het?
Hallo, hoe heet je?
Wat eet een [vos|beer|uil]?
Hoe maak ik [soep|pannenkoeken]?
Kun je me helpen?
Waar [woont de beer|ligt {city}]?
Ik begrijp het niet.
Wat doet een bakker?
Mijn telefoon laadt niet op.
Vertel me [een verhaal|een mop|iets over {who}].
Wat voor weer wordt het in {city}?
Wie heeft de sleutel uitgevonden?
Ik ben [moe|boos|blij].
Hoeveel is {n} keer {n2}?
Dank je wel, tot ziens!
"""

TOPICS["Polish"] = """
Jaka jest stolica [Polski|Niemiec|Francji|Włoch]?
Jak się masz?
Która jest godzina?
Cześć, jak masz na imię?
Co je [lis|sowa|niedźwiedź]?
Jak zrobić [zupę|ciasto|naleśniki]?
Czy możesz mi pomóc?
Gdzie [mieszka sowa|leży {city}]?
Nie rozumiem.
Co robi piekarz?
Mój telefon się nie ładuje.
Opowiedz mi [bajkę|kawał|o {who}].
Jaka jest pogoda w {city}?
Kto wynalazł klucz?
Jestem [smutny|zmęczona|głodny].
Ile to jest {n} razy {n2}?
Dziękuję, do widzenia.
"""

TOPICS["Turkish"] = """
{city} nerede?
Nasılsın?
Saat kaç?
Merhaba, adın ne?
[Tilki|Ayı|Baykuş] ne yer?
[Çorba|Pilav|Börek] nasıl yapılır?
Bana yardım eder misin?
Baykuş nerede yaşar?
Anlamıyorum.
Fırıncı ne iş yapar?
Telefonum şarj olmuyor.
Bana [bir hikaye|bir fıkra] anlat.
{city} hava durumu
Anahtarı kim icat etti?
[Üzgünüm|Yorgunum|Mutluyum].
{n} kere {n2} kaç eder?
Teşekkürler, görüşürüz.
"""

TOPICS["Portuguese"] = """
Qual é a capital de {city}?
Tudo bem?
Que horas são?
Olá, como você se chama?
O que come [a raposa|o urso|a coruja]?
Como se faz [uma sopa|bolo de chocolate]?
Você pode me ajudar?
Onde [mora o urso|fica {city}]?
Não entendo.
O que faz um padeiro?
Meu celular não carrega.
Conta [uma história|uma piada] para mim.
Como está o tempo em {city}?
Quem inventou a chave?
Estou [triste|cansada|feliz].
Quanto é {n} vezes {n2}?
Obrigado, até logo!
"""

TOPICS["northern languages"] = """
Vad är huvudstaden i [Sverige|Norge|Frankrike]?
Hur mår du?
Vad äter en [räv|björn|uggla]?
Hur lagar man [soppa|pannkakor]?
Var ligger {city}?
Jag förstår inte.
Hvad hedder du?
Hvor ligger {city}?
Hvad spiser en ræv?
Hvordan går det?
Jeg er [trist|træt|glad].
Hva er klokka?
Hvor bor du?
Kan du hjelpe meg?
Mikä on Suomen pääkaupunki?
Mitä kettu syö?
Kuinka paljon on {n} plus {n2}?
Hvernig hefur þú það?
Tack så mycket, hej då!
"""

TOPICS["eastern languages"] = """
Jaké je hlavní město [Česka|Itálie]?
Co jí liška?
Jak se máš?
Kolik je {n} krát {n2}?
Mi Magyarország fővárosa?
Mit eszik a róka?
Hogy vagy?
Beszélsz magyarul?
Care este capitala [României|Franței]?
Ce mănâncă vulpea?
Ce mai faci?
Koji je glavni grad Hrvatske?
Što jede lisica?
Kako si?
Kur yra {city}?
Kas tu esi?
Apa ibu kota Indonesia?
Apa yang dimakan rubah?
Bạn khỏe không?
Unde este {city}?
"""

TOPICS["other scripts"] = """
Как дела?
Как тебя зовут?
Что ест лиса?
Столица [России|Франции|Китая]?
Сколько будет {n} плюс {n2}?
Какая сегодня погода?
Що їсть лисиця?
Τι κάνεις;
Τι τρώει η αλεπού;
Ποια είναι η πρωτεύουσα της Ελλάδας;
你好吗？
狐狸吃什么？
现在几点？
{n}加{n2}等于多少？
きつねは何を食べますか。
今日の天気は？
日本の首都はどこですか。
여우는 무엇을 먹나요?
안녕하세요, 이름이 뭐예요?
كيف حالك؟
ماذا يأكل الثعلب؟
מה שלומך?
लोमड़ी क्या खाती है?
आप कैसे हैं?
สวัสดีครับ
"""

TOPICS["Latin and invented languages"] = """
Quid est hoc?
Quo vadis?
Ubi est {city}?
Salve, quid agis?
Carpe diem.
Cogito ergo sum.
Kiel vi fartas?
Kio estas via nomo?
Kie estas {city}?
Mi ne komprenas.
Oayhay, owhay areyay ouyay?
nuqneH
Dia duit, conas atá tú?
Sut wyt ti?
Zer moduz?
Com et dius?
Hakuna matata.
Habari yako?
Aloha, pehea 'oe?
Veni, vidi, vici.
"""
