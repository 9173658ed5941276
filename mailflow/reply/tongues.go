package reply

import "strings"

// A tongue holds the words that mail clients write around a quotation in one
// language, as [fold] gives them. A line fits only if one tongue has all its words,
// so that no sentence can be put together from several.
type tongue struct {
	wrote  map[string]bool // "wrote"
	glue   map[string]bool // "on", "at", and the days of the week
	days   map[string]bool // days of the week; one may look like a month
	months map[string]int
	banner map[string]bool // of "-----Original Message-----"
}

// tongueOf makes a tongue. Months are twelve groups with "/" between the spellings.
func tongueOf(wrote, glue, days, months, banner string) tongue {
	t := tongue{words(wrote), words(glue), words(days), map[string]int{}, words(banner)}
	for i, group := range strings.Fields(months) {
		for w := range strings.SplitSeq(group, "/") {
			t.months[w] = i + 1
		}
	}
	return t
}

// everywhere are the words of times that all languages share.
var everywhere = words("am pm gmt utc z cet cest mez mesz bst est edt cst cdt mst mdt pst pdt eet eest msk jst kst")

var tongues = []tongue{
	tongueOf("wrote writes", "on at the st nd rd th o clock",
		"mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday sunday",
		"jan/january feb/february mar/march apr/april may jun/june jul/july aug/august sep/sept/september oct/october nov/november dec/december",
		"original message"),
	tongueOf("schrieb schrieben geschrieben hat", "am um uhr den",
		"mo di mi do fr sa so montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag",
		"jan/januar/jän/jänner feb/februar märz/mär/mrz apr/april mai jun/juni jul/juli aug/august sep/sept/september okt/oktober nov/november dez/dezember",
		"ursprüngliche nachricht originalnachricht original nachricht"),
	tongueOf("écrit", "le à a er h min",
		"lun mar mer jeu ven sam dim lundi mardi mercredi jeudi vendredi samedi dimanche",
		"janv/janvier févr/février/fév mars avr/avril mai juin juil/juillet août sept/septembre oct/octobre nov/novembre déc/décembre",
		"message original d origine"),
	tongueOf("escribió escribio", "el la las los a de del p m hs h",
		"lun mar mié mie jue vie sáb sab dom lunes martes miércoles jueves viernes sábado domingo",
		"ene/enero feb/febrero mar/marzo abr/abril may/mayo jun/junio jul/julio ago/agosto sep/sept/set/septiembre oct/octubre nov/noviembre dic/diciembre",
		"mensaje original"),
	tongueOf("scritto scrisse scrive", "il alle ore ha a giorno del",
		"lun mar mer gio ven sab dom lunedì martedì mercoledì giovedì venerdì sabato domenica",
		"gen/gennaio feb/febbraio mar/marzo apr/aprile mag/maggio giu/giugno lug/luglio ago/agosto set/sett/settembre ott/ottobre nov/novembre dic/dicembre",
		"messaggio originale"),
	tongueOf("escreveu escreveram", "em a o às as de à h dia",
		"seg ter qua qui sex sáb sab dom segunda terça quarta quinta sexta feira sábado domingo",
		"jan/janeiro fev/fevereiro mar/março abr/abril mai/maio jun/junho jul/julho ago/agosto set/setembro out/outubro nov/novembro dez/dezembro",
		"mensagem original"),
	tongueOf("schreef geschreven heeft", "op om het volgende uur",
		"ma di wo do vr za zo maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
		"jan/januari feb/februari mrt/maart apr/april mei jun/juni jul/juli aug/augustus sep/sept/september okt/oktober nov/november dec/december",
		"oorspronkelijk bericht origineel oorspronkelijke"),
	tongueOf("napisał napisała napisano", "w dniu a o dnia godz godzinie r użytkownik",
		"pon wt śr czw pt sob niedz nie niedziela niedzielę poniedziałek wtorek środa środę czwartek piątek sobota sobotę",
		"sty/stycznia lut/lutego mar/marca kwi/kwietnia maj/maja cze/czerwca lip/lipca sie/sierpnia wrz/września paź/października lis/listopada gru/grudnia",
		"oryginalna wiadomość wiadomość oryginalna"),
	tongueOf("пишет писал написал написала пишут", "в а г года пользователь от",
		"пн вт ср чт пт сб вс понедельник вторник среда среду четверг пятница пятницу суббота субботу воскресенье",
		"янв/января февр/февраля/фев марта/мар/март апр/апреля мая/май июня/июн/июнь июля/июл/июль авг/августа сент/сентября/сен окт/октября нояб/ноября/ноя дек/декабря",
		"исходное сообщение пересылаемое оригинальное"),
	tongueOf("пише написав написала писав", "о в а р року від",
		"пн вт ср чт пт сб нд понеділок вівторок середа середу четвер пʼятниця пятниця субота суботу неділя неділю",
		"січ/січня лют/лютого бер/березня квіт/квітня/кві трав/травня/тра черв/червня/чер лип/липня серп/серпня/сер вер/вересня жовт/жовтня/жов лист/листопада/лис груд/грудня/гру",
		"вихідне повідомлення оригінальне"),
	tongueOf("napsal napsala napsal(a)", "dne v a odesílatel uživatel hod",
		"po út st čt pá so ne pondělí úterý středa čtvrtek pátek sobota neděle",
		"led/ledna úno/února bře/března dub/dubna kvě/května čvn/června čvc/července srp/srpna zář/září říj/října lis/listopadu pro/prosince",
		"původní zpráva"),
	tongueOf("yazdı yazmış", "tarihinde şunu şunları saat de da",
		"pzt sal çar per cum cmt paz pazartesi salı çarşamba perşembe cuma cumartesi pazar",
		"oca/ocak şub/şubat mar/mart nis/nisan may/mayıs haz/haziran tem/temmuz ağu/ağustos eyl/eylül eki/ekim kas/kasım ara/aralık",
		"özgün ileti orijinal mesaj"),
	tongueOf("skrev", "den kl klockan",
		"mån tis ons tors tor fre lör lördag sön söndag måndag tisdag onsdag torsdag fredag man tir lør lørdag søn søndag mandag tirsdag",
		"jan/januari/januar feb/februari/februar mars/mar/marts apr/april maj/mai jun/juni jul/juli aug/augusti/august sep/sept/september okt/oktober nov/november dec/december/des/desember",
		"ursprungligt meddelande originalmeddelande oprindelig meddelelse opprinnelig melding"),
	tongueOf("kirjoitti", "klo na",
		"ma ti ke to pe la su maanantaina tiistaina keskiviikkona torstaina perjantaina lauantaina sunnuntaina",
		"tammi/tammikuuta/tammik helmi/helmikuuta/helmik maalis/maaliskuuta/maalisk huhti/huhtikuuta/huhtik touko/toukokuuta/toukok kesä/kesäkuuta/kesäk heinä/heinäkuuta/heinäk elo/elokuuta/elok syys/syyskuuta/syysk loka/lokakuuta/lokak marras/marraskuuta/marrask joulu/joulukuuta/jouluk",
		"alkuperäinen viesti"),
	tongueOf("写道 寫道 寫到 写了 写入 撰写", "在 于 於 年 月 日 上午 下午 中午 晚上 凌晨 早上 时间 時間 時 分 点",
		"周一 周二 周三 周四 周五 周六 周日 周天 週一 週二 週三 週四 週五 週六 週日 星期一 星期二 星期三 星期四 星期五 星期六 星期日 星期天",
		"", "原始邮件 原始郵件 原邮件 原件 邮件原件 原始信件 寄件者原文"),
	tongueOf("書きました メール 書いた", "年 月 日 に さん は の が 午前 午後 時 分 秒 様",
		"火 水 木 金 土 月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日",
		"", "元のメッセージ オリジナルメッセージ 元のメール"),
	tongueOf("작성 쓴 작성했습니다 썼습니다", "년 월 일 에 이 가 님이 님 내용 오전 오후 시 분 다음과 같이",
		"월 화 수 목 금 토 월요일 화요일 수요일 목요일 금요일 토요일 일요일",
		"", "원본 메시지 원본메시지"),
	tongueOf("كتب كتبت كتابة", "في تمت ما يلي بواسطة م ص الساعة يوم",
		"الأحد الاثنين الإثنين الثلاثاء الأربعاء الخميس الجمعة السبت",
		"يناير فبراير مارس أبريل/ابريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
		"الرسالة الأصلية"),
	tongueOf("כתב כתבה מאת", "בתאריך יום ב בשעה את ה",
		"א ג ד ו ש ראשון שני שלישי רביעי חמישי שישי שבת",
		"ינו/בינו/ינואר/בינואר פבר/בפבר/פברואר/בפברואר מרץ/במרץ אפר/באפר/אפריל/באפריל מאי/במאי יוני/ביוני יולי/ביולי אוג/באוג/אוגוסט/באוגוסט ספט/בספט/ספטמבר/בספטמבר אוק/באוק/אוקטובר/באוקטובר נוב/בנוב/נובמבר/בנובמבר דצמ/בדצמ/דצמבר/בדצמבר",
		"ההודעה המקורית הודעה מקורית"),
}

// The kinds of lines in a header block.
type headerKind int

const (
	noHeader headerKind = iota
	headerFrom
	headerTo
	headerDate
	headerSubject
)

// headerKeys are the keys of header blocks.
var headerKeys = func() map[string]headerKind {
	keys := map[string]headerKind{}
	for kind, list := range map[headerKind]string{
		headerFrom:    `from|von|de|da|van|från|fra|od|lähettäjä|kimden|gönderen|от|від|发件人|寄件者|寄件人|發件人|差出人|送信元|送信者|보낸 사람|보낸사람|발신|من|מאת|expéditeur|mittente|remetente|remitente|afzender|nadawca|odesílatel|отправитель|reply-to|antwort an`,
		headerDate:    `date|sent|datum|gesendet|gesendet am|envoyé|envoyé le|date d'envoi|fecha|enviado|enviado el|enviado em|enviada em|enviada|data|inviato|data invio|verzonden|wysłano|data wysłania|skickat|sendt|lähetetty|отправлено|дата|надіслано|відправлено|odesláno|gönderildi|tarih|gönderme tarihi|发送时间|發送時間|发送日期|日期|时间|時間|寄件日期|傳送時間|傳送日期|送信日時|日時|日付|보낸 날짜|날짜|보낸 시간|تاريخ الإرسال|تم الإرسال|التاريخ|נשלח|תאריך|päiväys|dato`,
		headerTo:      `to|an|à|a|para|per|aan|do|till|til|komu|kime|alıcı|кому|收件人|收件者|宛先|받는 사람|받는사람|수신|إلى|אל|destinataire|destinatario|destinatário|vastaanottaja|cc|kopie|copie|copia|cópia|kopia|dw|копия|копія|抄送|副本|참조|نسخة|עותק|bilgi`,
		headerSubject: `subject|betreff|objet|asunto|assunto|oggetto|onderwerp|temat|тема|předmět|konu|ämne|emne|aihe|主题|主題|主旨|件名|제목|الموضوع|נושא`,
	} {
		for k := range strings.SplitSeq(list, "|") {
			keys[fold(k)] = kind
		}
	}
	return keys
}()
